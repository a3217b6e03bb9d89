"""Generative adversarial imitation (Ho & Ermon 2016, https://arxiv.org/abs/1606.03476) with any policy gradient.

A discriminator D(s, a), the probability that a pair is the expert's, and a policy play the game

    min_π max_D  E_expert[log D(s, a)] + E_π[log(1 − D(s, a))].

For a fixed policy, D = ρ_E / (ρ_E + ρ_π), where ρ are the distributions of the pairs that the expert and the policy
visit, and the value of the game is 2 JS(ρ_π, ρ_E) − log 4. So the policy imitates by maximising a reward that grows
with D. (The paper's D is 1 − D here.) Both of the usual rewards have a bias (Kostrikov et al. 2019,
https://arxiv.org/abs/1809.02925): −log(1 − D) ≥ 0 favours policies that survive, and log D ≤ 0 those that end the
episode, whatever the expert does. With absorbing states, an episode that terminates goes on for ever in a state of its
own, which the discriminator judges like all others and whose rewards are a part of the return.
"""

import dataclasses
from functools import partial
from typing import Annotated, Generic, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from annotated_types import Ge, Interval

from jaxrl.agents.minibatches import apply_in_chunks, check_rollout, merge_time
from jaxrl.agents.normalised import add_observations, no_statistics, normalise
from jaxrl.agents.optimizers import TINY, Optimizer, adam, check_optimizer
from jaxrl.agents.policy_gradient import NetworkState, gradient_step
from jaxrl.agents.ppo import PPOHparams
from jaxrl.agents.wrapping import around
from jaxrl.arguments import ArgumentError, check_config, check_kind
from jaxrl.networks.network import Network, as_features, check_network, check_observation, initial_params, num_states_of
from jaxrl.replay.datasets import check_dataset, num_actions_seen
from jaxrl.types import Agent, Array, Box, Discrete, Mean, Metrics, PyTree, StateT, Transition, same_extras, total
from jaxrl.xla.sharding import shard_batch
from jaxrl.xla.threefry import inline, ordinary

REWARDS = {"positive": jax.nn.softplus, "negative": jax.nn.log_sigmoid}
"""The rewards from the logit of D: −log(1 − D) and log D."""
LIMIT = 10.0
"""The largest scaled observation."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DiscriminatorHparams:
    """Hyperparameters of the discriminator. With those of an agent as second base, they are those of `gail(agent)`."""

    discriminator_learning_rate: Annotated[float, Interval(gt=0, lt=1e30)] = 1e-3
    """Learning rate of the discriminator, > 0."""
    gradient_penalty: Annotated[float, Ge(0)] = 1.0
    """Coefficient of the gradient penalty, which keeps the discriminator smooth."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GAILHparams(DiscriminatorHparams, PPOHparams):
    """Hyperparameters of GAIL with PPO."""


@dataclasses.dataclass(frozen=True)
class GAILConfig:
    """Static configuration of GAIL."""

    reward: Literal["positive", "negative"] = "positive"
    """Reward of the policy: −log(1 − D), where surviving is good, or log D, where the end of an episode is."""
    absorbing: bool = False
    """Let episodes that terminate go on in an absorbing state, so that neither is good in itself."""
    discriminator_steps: Annotated[int, Interval(gt=0, lt=2**31)] = 4
    """Gradient steps of the discriminator for each rollout."""
    discriminator_batch_size: Annotated[int, Interval(gt=0, lt=2**31)] = 512
    """Pairs of the policy, and as many of the expert, in each of them."""


class GAILState(NamedTuple, Generic[StateT]):
    """The state of the agent inside, and the discriminator's parameters, optimizer state and hyperparameters."""

    agent: StateT
    discriminator: NetworkState


class GAILConstants(NamedTuple):
    """The constants of GAIL.

    Attributes:
        dataset: the expert's transitions, `[M, ...]`.
        statistics: `Statistics` of each leaf of their observations and of their actions, None for integers.
        agent: the constants of the agent inside.
    """

    dataset: Transition
    statistics: PyTree
    agent: PyTree


def default_optimizer(hparams: DiscriminatorHparams, env_steps: Array) -> optax.GradientTransformation:
    """Adam after a clip of the gradient's norm to 10."""
    del env_steps
    return adam(hparams.discriminator_learning_rate, 10.0)


class _Parts(NamedTuple):
    """The arguments of `gail`, and how many states or actions each leaf of a pair numbers, 0 for arrays."""

    agent: Agent
    network: Network
    config: GAILConfig
    optimizer: Optimizer
    counts: tuple[int, ...]

    def features(self, statistics: PyTree, pairs: PyTree) -> Array:
        """Of pairs `(observations, actions)` `[N, ...]`: `[N, F]`, the last of which is 0 with absorbing states."""
        features = as_features(jax.tree.map(partial(normalise, limit=LIMIT), pairs, statistics), self.counts)
        return jnp.pad(features, ((0, 0), (0, int(self.config.absorbing))))


def gail(
    agent: Agent[StateT],
    network: Network,
    observation: PyTree,
    action_space: Discrete | Box,
    dataset: Transition,
    config: GAILConfig | None = None,
    optimizer: Optimizer = default_optimizer,
) -> Agent[GAILState[StateT]]:
    """The same agent, which imitates an expert instead of earning the environment's rewards.

        example, space = example_of(env, env_params), action_space_of(env, env_params)
        agent = gail(ppo(actor_critic(example, space)), Discriminator(), example, space, dataset)
        trainer = on_policy(agent, env, env_params, OnPolicyConfig())  # with hyperparameters GAILHparams()

    Each update trains the discriminator on pairs of the rollout and of the expert, and then the agent on the rollout
    with the discriminator's rewards. The dataset is a constant: a population shares it, and no checkpoint holds it.

    Args:
        agent: learns from rollouts `[T, N]`, such as `ppo`.
        network: the discriminator, from features `[N, F]` of states and actions to the logit of D, `[N]`, such as
            `jaxrl.networks.Discriminator()`. Observations are scaled by the mean and the standard deviation of the
            expert's, and clipped to [-10, 10]; discrete actions are one-hot. With absorbing states, the last feature is
            10 in the absorbing state, where all others are 0, and 0 elsewhere.
        observation: an example, as from `jaxrl.networks.example_of(env, env_params)`.
        action_space: of the environment.
        dataset: the expert's transitions `[M, ...]`, such as `load_dataset(path).transitions`.
        config: reward, absorbing states, and sizes.
        optimizer: of the discriminator; by default, Adam after a clip of the gradient's norm.

    Returns:
        An agent whose hyperparameters are of both kinds, `DiscriminatorHparams` and those of the agent: for PPO,
        `GAILHparams`. Its metrics are the agent's, and `discriminator_loss` (minus the value of the game),
        `discriminator_accuracy` (the share of pairs, half of them the expert's, that it classifies right) and
        `imitation_reward`.

    Raises:
        ArgumentError: an argument is of the wrong kind, or the dataset is none of this environment; from `init`,
            hyperparameters of another kind, or outputs that are no logits; from `update`, not a rollout.
    """
    config = check_config(config or GAILConfig(), GAILConfig)
    check_network(network)
    check_optimizer(optimizer)
    check_observation(observation)
    dataset = check_dataset(dataset)
    num_actions = _check_actions(dataset, action_space)
    counts = num_states_of(observation)
    counts = (*(counts if isinstance(counts, tuple) else (counts,)), num_actions)
    constants = GAILConstants(dataset, _statistics_of((dataset.observation, dataset.action)), agent.constants)
    parts = _Parts(agent, network, config, optimizer, counts)
    return around(
        agent,
        lambda state: state.agent,
        init=partial(_init, parts, constants),
        update=partial(_update, parts),
        prepare=same_extras,  # later, with the discriminator's rewards
        constants=constants,
    )


def _init(
    parts: _Parts, constants: GAILConstants, key: Array, hparams: DiscriminatorHparams, example: PyTree
) -> GAILState:
    check_kind("hparams", hparams, DiscriminatorHparams, " and of that of the agent, such as GAILHparams")
    here = jax.tree.map(lambda x: f"{x.dtype}{list(x.shape)}", example)
    recorded = constants.dataset.observation, constants.dataset.action
    there = jax.tree.map(lambda x: f"{x.dtype}{list(x.shape[1:])}", recorded[0])
    if here != there:
        raise ArgumentError("dataset", f"must have the observation of this environment, {here}", got=str(there))
    agent_key, key = jax.random.split(key)
    pair = jax.tree.map(lambda x: jax.ShapeDtypeStruct((2, *x.shape[1:]), x.dtype), recorded)
    features = jax.eval_shape(parts.features, constants.statistics, pair)
    params = initial_params(parts.network, key, jnp.zeros(features.shape[1:]))
    logits = jax.eval_shape(parts.network.apply, params, features)
    if getattr(logits, "shape", None) != (2,):
        raise ArgumentError("network", "must return logits [N], here [2]", logits)
    discriminator = NetworkState(params, parts.optimizer(hparams, jnp.float32(0)).init(params), hparams)
    return GAILState(parts.agent.init(agent_key, hparams, example), discriminator)


def _update(
    parts: _Parts, state: GAILState, batch: Transition, key: Array, env_steps: Array, constants: PyTree = ()
) -> tuple[GAILState, Metrics, PyTree]:
    check_rollout(batch)
    check_kind("constants", constants, GAILConstants, ", as Agent.constants are")
    agent, constants = parts.agent, jax.tree.map(jnp.asarray, constants)
    discriminator_key, agent_key = jax.random.split(inline(key))
    discriminator, metrics = train_discriminator(
        parts, state.discriminator, batch, constants, discriminator_key, env_steps
    )
    batch = batch._replace(reward=imitation_rewards(parts, discriminator, batch, constants.statistics))
    batch = batch._replace(extras=agent.prepare(state.agent, batch))
    learned, own, errors = agent.update(state.agent, batch, ordinary(agent_key), env_steps, constants.agent)
    reward = Mean(batch.reward.sum(), jnp.int32(batch.reward.size))
    return GAILState(learned, discriminator), own | metrics | {"imitation_reward": reward}, errors


def train_discriminator(
    parts: _Parts,
    state: NetworkState,
    batch: Transition,
    constants: GAILConstants,
    key: Array,
    env_steps: Array,
) -> tuple[NetworkState, Metrics]:
    """The gradient steps on one rollout `[T, N]`.

    Their loss is the mean of −log D over pairs of the expert, that of −log(1 − D) over pairs of the policy, and the
    gradient penalty at random places between them.
    """
    optimizer = parts.optimizer(state.hparams, env_steps)
    policy = merge_time(batch._replace(extras=()))
    draw = partial(draw_features, parts, constants.statistics)

    def step(state: NetworkState, key: Array) -> tuple[NetworkState, Metrics]:
        expert_key, policy_key, mix_key = jax.random.split(key, 3)
        theirs, ours = draw(constants.dataset, expert_key), draw(policy, policy_key)
        between = jax.random.uniform(mix_key, (len(ours), 1))

        def loss(params: PyTree) -> tuple[Array, dict[str, Array]]:
            logits = parts.network.apply(params, jnp.concatenate([theirs, ours])).reshape(2, -1)
            game = jax.nn.softplus(-logits[0]).mean() + jax.nn.softplus(logits[1]).mean()
            accuracy = ((logits[0] > 0).mean() + (logits[1] < 0).mean()) / 2
            penalty = gradient_penalty(parts, params, between * theirs + (1 - between) * ours)
            metrics = {"discriminator_loss": game, "discriminator_accuracy": accuracy}
            return game + state.hparams.gradient_penalty * penalty, metrics

        return gradient_step(state, loss, optimizer)

    keys = jax.random.split(key, parts.config.discriminator_steps)
    state, metrics = jax.lax.scan(step, state, keys)
    return state, total(metrics)


def draw_features(parts: _Parts, statistics: PyTree, steps: Transition, key: Array) -> Array:
    """Features of pairs drawn uniformly from transitions `[M, ...]`, with replacement: `[B, F]`.

    With absorbing states, each transition that terminated is followed by one pair more, of the absorbing state.
    """
    config, size = parts.config, len(steps.reward)
    absorbed = steps.terminated.sum(dtype=jnp.int32) if config.absorbing else 0
    rows = jax.random.randint(key, (config.discriminator_batch_size,), 0, size + absorbed, jnp.int32)
    pairs = jax.tree.map(lambda x: x[jnp.minimum(rows, size - 1)], (steps.observation, steps.action))
    features = parts.features(statistics, shard_batch(pairs, axis=0))
    return jnp.where((rows >= size)[:, None], absorbing_features(features), features)


def absorbing_features(features: Array) -> Array:
    """The features of the absorbing state, `[F]`.

    It is as far from all others as the largest scaled observation, since the gradient penalty bounds by the distance
    how much the logits of two states differ.
    """
    return jnp.zeros(features.shape[-1]).at[-1].set(LIMIT)


def gradient_penalty(parts: _Parts, params: PyTree, features: Array) -> Array:
    """The mean of (‖∇_x logit‖ − 1)² at features x `[B, F]` (Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028)."""
    gradients = jax.grad(lambda x: parts.network.apply(params, x).sum())(features)
    norm = jnp.sqrt(jnp.maximum(jnp.square(gradients).sum(-1), TINY))
    return jnp.square(norm - 1).mean()


def imitation_rewards(parts: _Parts, state: NetworkState, batch: Transition, statistics: PyTree) -> Array:
    """The rewards of a rollout, `[T, N]`.

    With absorbing states, they are minus the absorbing state's reward r. Where an episode terminates, r / (1 − γ) would
    follow; if each step earns r less, this is 0, all advantages are the same, and all values are r / (1 − γ) less.
    """
    reward = REWARDS[parts.config.reward]

    def of_pairs(pairs: PyTree) -> Array:
        return reward(parts.network.apply(state.params, parts.features(statistics, pairs)))

    rewards = apply_in_chunks(of_pairs, (batch.observation, batch.action))
    if not parts.config.absorbing:
        return rewards
    pair = jax.tree.map(lambda x: x[0, :1], (batch.observation, batch.action))
    features = absorbing_features(parts.features(statistics, pair))
    return rewards - reward(parts.network.apply(state.params, features[None]))[0]


def _statistics_of(pairs: PyTree) -> PyTree:
    """`Statistics` of leaves `[M, ...]`, or their shapes."""
    if any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(pairs)):
        return jax.eval_shape(lambda pairs: _statistics_of(pairs), pairs)
    return jax.tree.map(lambda x: add_observations(x, no_statistics(x[0])), pairs)


def _check_actions(dataset: Transition, space: Discrete | Box) -> int:
    """Returns the number of discrete actions, 0 for a box.

    Raises:
        ArgumentError: the dataset has actions that the environment lacks.
    """
    action, num_actions = dataset.action, space.num_actions if isinstance(space, Discrete) else 0
    shape = space.low.shape if isinstance(space, Box) else ()
    if jnp.issubdtype(action.dtype, jnp.integer) != bool(num_actions) or action.shape[1:] != shape:
        got = f"{action.dtype}{list(action.shape[1:])}"
        raise ArgumentError("dataset", f"must have actions of this environment, {space}", got=got)
    if (seen := num_actions_seen(dataset)) > num_actions:
        raise ArgumentError("dataset", f"must have actions of this environment, of which there are {num_actions}", seen)
    return num_actions
