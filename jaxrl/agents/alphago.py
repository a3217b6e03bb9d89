"""AlphaGo (Silver et al. 2016, https://doi.org/10.1038/nature16961): imitation, policy gradient, value and search.

In four steps, the first of which is `clone`:

1. A policy p_σ and a fast, weaker one p_π clone the moves of experts.
2. Beginning with p_σ, a policy p_ρ plays whole games against policies that it was before, and follows the gradient of
   REINFORCE, Σ_t ∇ log p_ρ(a_t | s_t) (z − v_θ(s_t)), with z the outcome of the game for p_ρ.
3. A value network v_θ learns the outcomes, (v_θ(s) − z)², from one position of each game: those of one game share z.
4. To play, it searches by PUCT with the prior p_σ. A new position is worth (1 − λ) v_θ(s) + λ z_π, with z_π the outcome
   of a game that p_π plays from there for both sides. Of the two policies, the paper found p_σ to be the better prior;
   `AlphaGoConfig.prior` may also be p_ρ.

Steps 2 and 3 share their games here, where the paper's value network learned afterwards from games of its own.
"""

import dataclasses
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, Gt, Interval

from jaxrl.agents.behaviour_cloning import BehaviourCloningHparams, behaviour_cloning
from jaxrl.agents.minibatches import check_rollout, merge_time
from jaxrl.agents.optimizers import Optimizer, check_optimizer, default_optimizer
from jaxrl.agents.policy_gradient import NetworkState, gradient_step
from jaxrl.agents.reinforce import first_episode
from jaxrl.arguments import ArgumentError, check_config, check_kind
from jaxrl.distributions import Categorical, Distribution, masked
from jaxrl.games import BoardGame
from jaxrl.networks.network import Network, check_network, initial_params
from jaxrl.random import as_keys
from jaxrl.replay.datasets import sample_dataset
from jaxrl.search import Expansion, Root, Searched, puct_search
from jaxrl.types import Agent, Array, Decision, Input, Mean, Metrics, PyTree, Trainer, TrainState, Transition
from jaxrl.xla.threefry import inline

CLONING = 2**32 - 1
"""The stream of the keys of `clone`. Those of iterations have smaller numbers."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class AlphaGoHparams:
    """Hyperparameters of AlphaGo."""

    learning_rate: Annotated[float, Interval(gt=0, lt=1e30)] = 1e-3
    """Initial learning rate of Adam for the policy gradient and the value, > 0."""
    learning_rate_decay_steps: Annotated[float, Ge(0)] = 0.0
    """Moves over which the learning rate decays linearly to zero; 0 keeps it constant."""
    value_coef: Annotated[float, Ge(0)] = 1.0
    """Coefficient of the value loss."""
    max_grad_norm: Annotated[float, Gt(0)] = 10.0
    """Maximum global norm of the gradients, > 0; larger gradients are scaled down to it."""
    rollout_weight: Annotated[float, Interval(ge=0, le=1)] = 0.5
    """λ, the weight of a rollout's outcome in the value of a position; the rest is the value network's."""
    cloning_learning_rate: Annotated[float, Interval(gt=0, lt=1e30)] = 2e-3
    """Initial learning rate of Adam for cloning, > 0, which decays linearly to zero."""


@dataclasses.dataclass(frozen=True)
class AlphaGoConfig:
    """The sizes of AlphaGo, static."""

    num_simulations: Annotated[int, Interval(gt=0, lt=2**16)] = 32
    """Simulations of each search."""
    prior: Literal["cloned", "improved"] = "cloned"
    """The policy that guides the search: as cloned, as in the paper, or as improved by its games."""
    pool_size: Annotated[int, Interval(gt=0, lt=2**16)] = 8
    """Past policies to play against; each plays an equal share of the games."""
    pool_every: Annotated[int, Interval(gt=0, lt=2**31)] = 50
    """Updates after which the policy takes the place of the oldest one."""
    cloning_steps: Annotated[int, Interval(gt=0, lt=2**31)] = 3_000
    """Gradient steps of cloning, of each policy."""
    cloning_batch_size: Annotated[int, Interval(gt=0, lt=2**31)] = 512
    """Experts' moves in each of them."""


class AlphaGoState(NamedTuple):
    """The state of AlphaGo.

    Attributes:
        agent: the parameters `policy` of p_ρ and `value` of v_θ, their optimizer's state, and the hyperparameters.
        prior: the parameters of p_σ.
        rollout: those of p_π.
        pool: those of past policies, `[K, ...]`.
        updates: how many there were, int32 scalar.
    """

    agent: NetworkState
    prior: PyTree
    rollout: PyTree
    pool: PyTree
    updates: Array


class _Parts(NamedTuple):
    """The arguments of `alphago`."""

    network: Network
    fast: Network
    game: BoardGame
    config: AlphaGoConfig
    optimizer: Optimizer


def alphago(
    network: Network,
    fast: Network,
    game: BoardGame,
    config: AlphaGoConfig | None = None,
    optimizer: Optimizer = default_optimizer,
) -> Agent[AlphaGoState]:
    """AlphaGo with any networks, for `jaxrl.envs.game.GameEnvironment`.

        agent = alphago(network, fast, env.game)
        sizes = OnPolicyConfig(64, env.game.max_moves, reset_each_rollout=True)
        trainer = clone(on_policy(agent, env, env_params, sizes), network, fast, dataset)

    Args:
        network: maps observations `[N, ...]` to a `jaxrl.distributions.Categorical` over actions and values `[N]`,
            which pass through tanh. The policy and the value each have parameters of their own.
        fast: maps them to a `Categorical`; the policy of rollouts.
        game: the rules.
        config: the sizes.
        optimizer: of p_ρ and v_θ; by default, Adam after a clip of the gradient's norm.

    Returns:
        An agent for rollouts `[T, N]` of whole games, as long as the longest, with hyperparameters `AlphaGoHparams`. In
        half of the environments it moves first, in the others a past policy. Its `policy` searches; its `outputs` are
        p_ρ. Its metrics are `policy_loss`, `value_loss`, and `outcome`, the mean outcome against past policies.

    Raises:
        ArgumentError: an argument is of the wrong kind; from `act`, the environments are no multiple of twice the pool.
    """
    check_network(network)
    check_network(fast)
    check_optimizer(optimizer)
    check_kind("game", game, BoardGame)
    config = check_config(config or AlphaGoConfig(), AlphaGoConfig)
    parts = _Parts(network, fast, game, config, optimizer)

    def outputs(state: AlphaGoState, observations: PyTree) -> Distribution:
        return network.apply(state.agent.params["policy"], observations)[0]

    return Agent(
        init=partial(_init, parts),
        act=partial(_act, parts),
        policy=partial(_policy, parts),
        update=partial(_update, parts),
        outputs=outputs,
        whole_episodes=True,
        needs_env_states=True,
        searches=True,
    )


def _init(parts: _Parts, key: Array, hparams: AlphaGoHparams, observation: PyTree) -> AlphaGoState:
    check_kind("hparams", hparams, AlphaGoHparams)
    policy_key, value_key, fast_key = jax.random.split(key, 3)
    policy = initial_params(parts.network, policy_key, observation)
    params = {"policy": policy, "value": initial_params(parts.network, value_key, observation)}
    learner = NetworkState(params, parts.optimizer(hparams, jnp.float32(0)).init(params), hparams)
    return _begin_with(learner, policy, initial_params(parts.fast, fast_key, observation), parts.config.pool_size)


def _begin_with(learner: NetworkState, policy: PyTree, fast: PyTree, pool_size: int) -> AlphaGoState:
    """The state in which p_ρ, p_σ and all past policies are one policy."""
    pool = jax.tree.map(lambda x: jnp.broadcast_to(x, (pool_size, *x.shape)), policy)
    learner = learner._replace(params=learner.params | {"policy": policy})
    return AlphaGoState(learner, policy, fast, pool, jnp.int32(0))


def clone(
    trainer: Trainer[AlphaGoState],
    network: Network,
    fast: Network,
    dataset: Transition,
    config: AlphaGoConfig | None = None,
) -> Trainer[AlphaGoState]:
    """A trainer of `alphago` that begins with policies that clone experts' moves.

    Args:
        trainer: of `alphago(network, fast, game, config)`.
        network: whose policy clones.
        fast: which does too.
        dataset: the moves `[M, ...]`, the only constant of the trainer. Of `jax.ShapeDtypeStruct`s, the trainer can
            only be traced, as to load what it has trained.
        config: the sizes.
    """
    config = config or AlphaGoConfig()

    def init(key: Array, hparams: AlphaGoHparams, dataset: Transition) -> TrainState:
        state = trainer.init(key, hparams)
        keys = jax.random.split(jax.random.fold_in(state.key, jnp.uint32(CLONING)))
        rate = state.agent.agent.hparams.cloning_learning_rate
        policy, rollout = (
            _clone(net, dataset, key, rate, config) for net, key in zip((network, fast), keys, strict=True)
        )
        return state._replace(agent=_begin_with(state.agent.agent, policy, rollout, config.pool_size))

    def step(state: TrainState, dataset: Transition) -> tuple[TrainState, Metrics]:
        del dataset
        return trainer.step(state)

    return trainer._replace(init=init, step=step, constants=dataset)


def _clone(network: Network, dataset: Transition, key: Array, rate: Array, config: AlphaGoConfig) -> PyTree:
    """The parameters of a policy after `cloning_steps` gradient steps of behaviour cloning."""
    agent, steps = behaviour_cloning(network), config.cloning_steps
    init_key, key = jax.random.split(key)
    hparams = BehaviourCloningHparams(rate, float(steps))  # type: ignore[arg-type]  # traced
    start = agent.init(init_key, hparams, jax.tree.map(lambda x: x[0], dataset.observation))

    def learn(state: NetworkState, x: tuple[Array, Array]) -> tuple[NetworkState, None]:
        step, key = x
        _, sample = sample_dataset(dataset, key, config.cloning_batch_size)
        return agent.update(state, sample, key, step.astype(jnp.float32), ())[0], None

    end, _ = jax.lax.scan(learn, start, (jnp.arange(steps), jax.random.split(inline(key), steps)))
    return end.params


def _act(parts: _Parts, state: AlphaGoState, given: Input, key: Array, env_steps: Array) -> Decision:
    """Moves in games against past policies: the agent's turn is that of player n mod 2 in environment n."""
    del env_steps
    number, pool = len(given.env_states.player), parts.config.pool_size
    if number % (2 * pool):
        raise ArgumentError("num_envs", f"must be a multiple of {2 * pool}, twice the pool_size", number)
    ours = given.env_states.player == jnp.arange(number) % 2
    own = parts.network.apply(state.agent.params["policy"], given.observation)[0].logits
    shares = jax.tree.map(lambda x: x.reshape(pool, number // pool, *x.shape[1:]), given.observation)
    past = jax.vmap(lambda params, x: parts.network.apply(params, x)[0].logits)(state.pool, shares)
    logits = jnp.where(ours[:, None], own, past.reshape(own.shape))
    return Decision(Categorical(masked(logits, given.legal)).sample(inline(key)), extras=ours)


def _update(
    parts: _Parts, state: AlphaGoState, batch: Transition, key: Array, env_steps: Array, constants: PyTree = ()
) -> tuple[AlphaGoState, Metrics, PyTree]:
    del constants
    check_rollout(batch)
    learner, in_game, ours = state.agent, first_episode(batch), batch.extras
    outcome = jnp.where(in_game, jnp.where(ours, batch.reward, -batch.reward), 0.0).sum(0)  # of each game, for p_ρ
    outcomes = jnp.where(ours, outcome, -outcome)  # for who moves
    rows = (jax.random.uniform(inline(key), outcome.shape) * in_game.sum(0)).astype(jnp.int32)
    columns = jnp.arange(len(rows))
    positions = jax.tree.map(lambda x: x[rows, columns], batch.observation)

    def loss(params: PyTree) -> tuple[Array, dict[str, Array]]:
        observations = merge_time(batch.observation)
        logits = masked(parts.network.apply(params["policy"], observations)[0].logits, merge_time(batch.legal))
        log_prob = Categorical(logits).log_prob(merge_time(batch.action)).reshape(in_game.shape)
        baseline = jnp.tanh(parts.network.apply(learner.params["value"], observations)[1]).reshape(in_game.shape)
        policy_loss = -jnp.where(in_game & ours, log_prob * (outcomes - baseline), 0.0).sum(0).mean()
        values = jnp.tanh(parts.network.apply(params["value"], positions)[1])
        value_loss = jnp.square(values - outcomes[rows, columns]).mean()
        metrics = {"policy_loss": policy_loss, "value_loss": value_loss}
        return policy_loss + learner.hparams.value_coef * value_loss, metrics

    learner, metrics = gradient_step(learner, loss, parts.optimizer(learner.hparams, env_steps))
    updates, every = state.updates + 1, parts.config.pool_every
    due, oldest = updates % every == 0, (updates // every - 1) % parts.config.pool_size
    pool = jax.tree.map(
        lambda pool, new: pool.at[oldest].set(jnp.where(due, new, pool[oldest])), state.pool, learner.params["policy"]
    )
    metrics["outcome"] = Mean(outcome.sum(), jnp.int32(len(outcome)))
    return state._replace(agent=learner, pool=pool, updates=updates), metrics, ()


def _policy(parts: _Parts, state: AlphaGoState, given: Input, key: Array) -> Decision:
    return Decision(_search(parts, state, given, key).action)


def _search(parts: _Parts, state: AlphaGoState, given: Input, key: Array) -> Searched:
    """Searches from the positions of N environments."""
    game, weight, prior = parts.game, state.agent.hparams.rollout_weight, prior_of(parts.config, state)

    def evaluate(states: Any, seeds: Array) -> tuple[Array, Array]:
        observations, legal = jax.vmap(game.observe)(states), jax.vmap(game.legal_actions)(states)
        logits = parts.network.apply(prior, observations)[0].logits
        values = jnp.tanh(parts.network.apply(state.agent.params["value"], observations)[1])
        outcomes = play_out(parts, state.rollout, states, seeds)
        return masked(logits, legal), (1 - weight) * values + weight * outcomes

    def model(at: tuple[Any, Array], actions: Array) -> tuple[Expansion, PyTree]:
        states, seeds = at
        states, rewards = jax.vmap(game.step)(states, actions)
        seeds = jax.vmap(_fold_in)(seeds, actions)  # each position of the tree has a seed of its own
        discounts = jnp.where(states.terminated, 0.0, -1.0)
        return Expansion(rewards, discounts, *evaluate(states, seeds)), (states, seeds)

    states = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), given.env_states)
    search_key, seeds_key = jax.random.split(key)
    seeds = jax.random.bits(seeds_key, (len(states.player), 2), jnp.uint32)
    root, legal = Root(*evaluate(states, seeds), (states, seeds)), jax.vmap(game.legal_actions)(states)
    simulations = parts.config.num_simulations
    return puct_search(search_key, root, model, legal, simulations, noise_fraction=0.0, temperature=0.0)


def prior_of(config: AlphaGoConfig, state: AlphaGoState) -> PyTree:
    """The parameters of the policy that guides the search."""
    return state.prior if config.prior == "cloned" else state.agent.params["policy"]


def with_cloned_policy(state: AlphaGoState) -> AlphaGoState:
    """The state in which p_ρ is p_σ again, which it was at first."""
    return state._replace(agent=state.agent._replace(params=state.agent.params | {"policy": state.prior}))


def _fold_in(seed: Array, number: Array) -> Array:
    return jax.random.key_data(jax.random.fold_in(as_keys(seed), number))


def play_out(parts: _Parts, params: PyTree, states: Any, seeds: Array) -> Array:
    """The outcomes of games that the fast policy plays for both sides, for who moves first: float32 `[B]`.

    Args:
        parts: the game and the fast policy.
        params: of this policy.
        states: where the games begin, `[B, ...]`. Those that are over have the outcome 0.
        seeds: of the moves, uint32 `[B, 2]`.
    """
    game, first = parts.game, states.player

    def unfinished(at: tuple[Array, Any, Array]) -> Array:
        return (at[0] < game.max_moves) & ~at[1].terminated.all()

    def move(at: tuple[Array, Any, Array]) -> tuple[Array, Any, Array]:
        t, states, outcomes = at
        logits = parts.fast.apply(params, jax.vmap(game.observe)(states)).logits
        logits = masked(logits, jax.vmap(game.legal_actions)(states))
        keys = as_keys(jax.vmap(_fold_in, (0, None))(seeds, game.num_actions + t))
        after, rewards = jax.vmap(game.step)(states, jax.vmap(jax.random.categorical)(keys, logits))
        return t + 1, after, outcomes + jnp.where(states.player == first, rewards, -rewards)

    start = (jnp.int32(0), states, jnp.zeros(len(first)))
    return jax.lax.while_loop(unfinished, move, start)[2]
