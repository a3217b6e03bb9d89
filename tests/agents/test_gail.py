"""GAIL: the exact discriminator of a tabular problem, rewards by hand, and what an absorbing state is worth."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from gymnax.environments import spaces

from jaxrl import A2CHparams, ArgumentError, GAILConfig, GAILHparams, OnPolicyConfig, Transition, a2c, gail, on_policy
from jaxrl.agents import DiscriminatorHparams, PPOHparams, ppo, reinforce
from jaxrl.agents.gail import LIMIT, _Parts, draw_features
from jaxrl.agents.policy_gradient import generalized_advantages
from jaxrl.envs import rollout
from jaxrl.networks import Discriminator, actor_critic
from jaxrl.training import Program, repeat
from jaxrl.types import Agent, Box, Decision, Discrete, Mean
from tests.compiling import quick_jit
from tests.instruments import watching

S, A, T, N = 3, 2, 16, 64
MOVES = np.array([[[0.2, 0.8, 0], [0, 0.5, 0.5]], [[0.5, 0, 0.5], [0, 0.1, 0.9]], [[0.7, 0.3, 0], [0.4, 0.4, 0.2]]])
"""P[s, a, s'] where the episode goes on."""
ENDS = np.array([[0, 0], [0, 0.1], [0, 0.5]])
"""The probability that an episode terminates with an action, [s, a]."""
EXPERT, POLICY = np.array([0.3, 0.8, 0.4]), np.array([0.6, 0.5, 0.7])
"""The probability of action 1 in each state."""
STATES, ACTIONS = spaces.Discrete(S), Discrete(A)
FIXED = partial(jnp.zeros, (), jnp.int32)


class Walk:
    """The problem above, with gymnax's interface. Episodes begin in state 0. Its rewards are NaN."""

    name, default_params = "Walk", None

    def reset(self, key, params=None):
        return FIXED(), FIXED()

    def step(self, key, state, action, params=None):
        move_key, end_key = jax.random.split(key)
        after = jax.random.choice(move_key, S, p=jnp.asarray(MOVES)[state, action]).astype(jnp.int32)
        terminated = jax.random.uniform(end_key) < jnp.asarray(ENDS)[state, action]
        begun = jnp.where(terminated, 0, after)
        return begun, begun, jnp.float32(jnp.nan), terminated, jnp.bool_(False), {"final_observation": after}

    def action_space(self, params=None):
        return spaces.Discrete(A)

    def observation_space(self, params=None):
        return STATES


def visits(policy: np.ndarray) -> tuple[np.ndarray, float]:
    """How often a policy visits each pair, [s, a], and terminates, per step in the long run."""
    pi = np.stack([1 - policy, policy], 1)
    onward = np.einsum("sa,sa,sap->sp", pi, 1 - ENDS, MOVES)
    onward[:, 0] += (pi * ENDS).sum(1)
    equations = np.concatenate([onward.T - np.eye(S), np.ones((1, S))])
    rho = np.linalg.lstsq(equations, np.append(np.zeros(S), 1), rcond=None)[0][:, None] * pi
    return rho, float((rho * ENDS).sum())


def fixed_agent(policy: np.ndarray) -> Agent:
    """Acts with the probabilities of a policy. Its state becomes what it learns from."""

    def act(state, given, key, env_steps=None):
        p = jnp.asarray(policy, jnp.float32)[given.observation]
        return Decision(jax.random.bernoulli(key, p).astype(jnp.int32))

    return Agent(lambda *_: (), act, act, lambda *_: ((), {}, ()))


class Linear:
    """Logits linear in the features, which are all zero at first."""

    def __init__(self, weights=None) -> None:
        self.weights = weights

    def init(self, key, features):
        return jnp.zeros(features.shape[1]) if self.weights is None else jnp.asarray(self.weights, jnp.float32)

    def apply(self, params, features, *, rngs=None):
        return features @ params


class PairTable(Linear):
    """A logit for each pair, from one-hot states and actions, and for the absorbing state."""

    def init(self, key, features):
        assert features.shape == (1, S + A + 1)
        return jnp.zeros(S * A + 1)

    def apply(self, params, features, *, rngs=None):
        pairs = features[:, :S, None] * features[:, None, S : S + A]
        return jnp.concatenate([pairs.reshape(-1, S * A), features[:, -1:] / LIMIT], 1) @ params


@pytest.fixture(scope="module")
def demonstrations() -> Transition:
    """4,000 steps of the expert."""
    policy = partial(fixed_agent(EXPERT).policy, ())
    steps = quick_jit(lambda key: rollout(Walk(), policy, key, 500, 8))(jax.random.key(3))
    return jax.tree.map(lambda x: np.asarray(x).reshape(-1), steps._replace(reward=jnp.zeros((500, 8))))


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """The Jensen-Shannon divergence, in nats."""
    m = (p + q) / 2
    return float((p * np.log(p / m) + q * np.log(q / m)).sum() / 2)


def test_the_discriminator_of_a_tabular_mdp_is_exact(demonstrations) -> None:
    """1 − D = ρ_π / (ρ_π + ρ_E), also in the absorbing state, which follows each termination once."""
    iterations = 600
    config = GAILConfig(absorbing=True, discriminator_steps=4, discriminator_batch_size=1024)
    end = iterations * T * N

    def optimizer(hparams, env_steps):
        return optax.sgd(hparams.discriminator_learning_rate * (1 - env_steps / end))

    agent = gail(fixed_agent(POLICY), PairTable(), STATES, ACTIONS, demonstrations, config, optimizer)
    trainer = on_policy(agent, Walk(), None, OnPolicyConfig(num_envs=N, rollout_length=T))
    hparams = GAILHparams(discriminator_learning_rate=20.0, gradient_penalty=0.0)

    @quick_jit
    def train(constants):
        state = trainer.init(jax.random.key(0), hparams, constants)
        return jax.lax.scan(lambda state, _: trainer.step(state, constants), state, length=iterations)

    state, metrics = train(trainer.constants)
    rho, ended = visits(POLICY)
    ours = np.append(rho, ended) / (1 + ended)
    theirs = np.zeros((S, A))
    np.add.at(theirs, (demonstrations.observation, demonstrations.action), 1 / len(demonstrations.action))
    theirs = np.append(theirs, ended := demonstrations.terminated.mean()) / (1 + ended)
    learned = np.asarray(jax.nn.sigmoid(state.agent.discriminator.params))
    np.testing.assert_allclose(1 - learned, ours / (ours + theirs), atol=0.01)
    assert abs(learned - 0.5).max() > 0.15  # they differ
    value = 2 * divergence(ours, theirs) - np.log(4)
    game = (theirs * np.log(learned)).sum() + (ours * np.log(1 - learned)).sum()
    assert game == pytest.approx(value, abs=1e-3)
    late = {name: jax.tree.map(lambda x: x[-100:].sum(), mean).value() for name, mean in metrics.items()}
    assert late["discriminator_loss"] == pytest.approx(-value, abs=0.01)
    right = (theirs * (learned > 0.5)).sum() / 2 + (ours * (learned < 0.5)).sum() / 2
    assert late["discriminator_accuracy"] == pytest.approx(right, abs=0.01)


def test_an_absorbing_state_follows_each_termination_once() -> None:
    """Of three pairs and one termination, all four rows are drawn equally often."""
    parts = _Parts(echo(), Linear(), GAILConfig(absorbing=True, discriminator_batch_size=40_000), freeze, (S, A))
    draw = quick_jit(partial(draw_features, parts, (None, None)))
    features = np.asarray(draw(EXPERT_PAIRS, jax.random.key(0)))
    rows, counts = np.unique(features, axis=0, return_counts=True)
    assert rows.tolist() == [[0, 0, 0, 0, 0, LIMIT], [0, 0, 1, 1, 0, 0], [0, 1, 0, 0, 1, 0], [1, 0, 0, 0, 1, 0]]
    np.testing.assert_allclose(counts / 40_000, 1 / 4, atol=0.01)


def pairs(states, actions, terminated=False, truncated=False) -> Transition:
    """Transitions of numbered states `[...]`, with rewards of NaN."""
    states, actions = jnp.asarray(states, jnp.int32), jnp.asarray(actions, jnp.int32)
    ends = [jnp.broadcast_to(jnp.asarray(x, bool), states.shape) for x in (terminated, truncated)]
    return Transition(states, actions, jnp.full(states.shape, jnp.nan), ends[0], ends[1], states)


def echo() -> Agent:
    """Its state becomes the rewards and the extras of what it learns from. Its extras are the rewards, doubled."""

    def update(state, batch, key, env_steps, constants):
        return (batch.reward, batch.extras), {"own": Mean.of(jnp.float32(constants))}, ()

    return Agent(lambda *_: (), None, None, update, prepare=lambda _, batch: 2 * batch.reward, constants=7.0)


def freeze(hparams, env_steps):
    return optax.sgd(0.0)


def sgd(hparams, env_steps):
    return optax.sgd(hparams.discriminator_learning_rate)


def learn(batch: Transition, dataset: Transition, network=None, config=None, optimizer=freeze, **hparams):
    """The state and the metrics after one update."""
    dataset = dataset._replace(reward=np.zeros(len(dataset.action)))
    agent = gail(echo(), network or Linear(), STATES, ACTIONS, dataset, config, optimizer)

    @quick_jit
    def update(batch, constants):
        state = agent.init(jax.random.key(0), GAILHparams(**hparams), FIXED())
        return agent.update(state, batch, jax.random.key(1), jnp.float32(0), constants)[:2]

    return update(batch, agent.constants)


EXPERT_PAIRS = pairs([0, 1, 2], [1, 1, 0], terminated=[False, False, True])
WEIGHTS = [np.log(3), -np.log(4), 0, 0, np.log(2), np.log(7) / LIMIT]
"""Of the states 0, 1 and 2, of the actions 0 and 1, and of the absorbing state: D = 3/4, 1/5, … and there 7/8."""


@pytest.mark.parametrize(
    ("reward", "rewards"),
    [
        ("positive", np.log([[4, 5 / 4, 3], [7, 3 / 2, 2]])),  # −log(1 − D)
        ("negative", np.log([[3 / 4, 1 / 5, 2 / 3], [6 / 7, 1 / 3, 1 / 2]])),  # log D
    ],
)
def test_rewards_by_hand(reward, rewards) -> None:
    """Those of the environment, NaN, do not matter; the agent inside prepares its extras from the new ones."""
    batch = pairs([[0, 1, 2], [0, 1, 2]], [[0, 0, 1], [1, 1, 0]], [[0, 0, 0], [1, 0, 0]], [[0, 1, 0], [1, 0, 0]])
    state, metrics = learn(batch, EXPERT_PAIRS, Linear(WEIGHTS[:-1]), GAILConfig(reward))
    assert (np.sign(rewards) == (1 if reward == "positive" else -1)).all()
    np.testing.assert_allclose(state.agent[0], rewards, rtol=1e-5)
    np.testing.assert_allclose(state.agent[1], 2 * rewards, rtol=1e-5)
    assert metrics["imitation_reward"].value() == pytest.approx(rewards.mean(), rel=1e-5)
    assert float(metrics["own"].value()) == 7

    state, _ = learn(batch, EXPERT_PAIRS, Linear(WEIGHTS), GAILConfig(reward, absorbing=True))
    absorbing = np.log(8) if reward == "positive" else np.log(7 / 8)
    np.testing.assert_allclose(state.agent[0], rewards - absorbing, rtol=1e-5)


def test_the_absorbing_state_is_a_part_of_the_return() -> None:
    """Advantages are those of an episode to which an endless stay there is appended, and returns less what it earns."""
    batch, discount = pairs([[0], [1], [2], [0]], [[0], [0], [1], [1]], [[0], [0], [1], [0]]), 0.9
    state, _ = learn(batch, EXPERT_PAIRS, Linear(WEIGHTS), GAILConfig(absorbing=True))
    plain, _ = learn(batch, EXPERT_PAIRS, Linear(WEIGHTS[:-1]))
    stay, worth = 500, np.log(8) / (1 - discount)
    v_tm1, v_t = jnp.array([[11.0], [2], [33], [4]]), jnp.array([[2.0], [33], [-9], [5]])
    ours = generalized_advantages(batch._replace(reward=state.agent[0]), v_tm1 - worth, v_t - worth, discount, 0.8)
    values = jnp.concatenate([v_tm1[:3], jnp.full((stay + 1, 1), worth)])
    rewards = jnp.concatenate([plain.agent[0][:3], jnp.full((stay, 1), np.log(8))])
    endless = pairs(*jnp.zeros((2, 3 + stay, 1)))._replace(reward=rewards)
    advantages, returns = generalized_advantages(endless, values[:-1], values[1:], discount, 0.8)
    np.testing.assert_allclose(ours[0][:3], advantages[:3], rtol=1e-4)
    np.testing.assert_allclose(ours[1][:3], returns[:3] - worth, rtol=1e-4)


def test_one_step_of_the_discriminator_by_hand() -> None:
    """One pair each: −log D of the expert's, −log(1 − D) of the policy's, and the penalty's gradient in closed form."""
    w, penalty = np.array([0.3, -0.2, 0.5, -0.4, 0.1]), 0.7
    theirs, ours = np.array([1, 0, 0, 0, 1]), np.array([0, 0, 1, 1, 0])
    batch = pairs([[2, 2]], [[0, 0]])
    config = GAILConfig(discriminator_steps=1, discriminator_batch_size=8)
    expert, hparams = pairs([0, 0], [1, 1]), {"discriminator_learning_rate": 0.5, "gradient_penalty": penalty}
    state, metrics = learn(batch, expert, Linear(w), config, sgd, **hparams)
    p, q = 1 / (1 + np.exp(-w @ theirs)), 1 / (1 + np.exp(-w @ ours))
    norm = np.linalg.norm(w)
    gradient = -(1 - p) * theirs + q * ours + penalty * 2 * (norm - 1) * w / norm
    np.testing.assert_allclose(state.discriminator.params, w - 0.5 * gradient, rtol=1e-5)
    assert metrics["discriminator_loss"].value() == pytest.approx(-np.log(p) - np.log(1 - q), rel=1e-5)
    np.testing.assert_allclose(state.agent[0], np.log1p(np.exp(state.discriminator.params @ ours)), rtol=1e-5)


class Quadratic(Linear):
    """The logit is half the squared norm of the features, whose gradient are the features."""

    def apply(self, params, features, *, rngs=None):
        return params[0] * (features**2).sum(1) / 2


def test_the_penalty_is_between_the_pairs_and_the_scales_are_the_experts() -> None:
    """Observations minus the expert's mean, over its deviation, clipped to ±10, as are the actions of a box."""
    x = np.array([[1.0, 20], [3, 20], [5, 80]], np.float32)
    action = np.array([[0.5], [0.1], [0.3]], np.float32)
    ends = np.zeros(3, bool)
    dataset = Transition(x, action, np.zeros(3, np.float32), ends, ends, x)
    space, config = Box(np.float32([-1]), np.float32([1])), GAILConfig(discriminator_steps=1)
    seen, acted = jnp.array([[[2.0, 30], [1e6, -1e6]]]), jnp.array([[[0.2], [0.9]]])
    batch = Transition(seen, acted, jnp.zeros((1, 2)), jnp.zeros((1, 2), bool), jnp.zeros((1, 2), bool), seen)
    scaled = np.concatenate([(seen[0] - x.mean(0)) / x.std(0), (acted[0] - action.mean()) / action.std()], 1)
    scaled = np.clip(scaled, -10, 10)
    w = [0.4, -0.3, 0.2]
    agent = gail(echo(), Linear(w), x[0], space, dataset, config, freeze)
    state = agent.init(jax.random.key(0), GAILHparams(), x[0])
    state, *_ = agent.update(state, batch, jax.random.key(1), jnp.float32(0), agent.constants)
    np.testing.assert_allclose(state.agent[0][0], np.log1p(np.exp(scaled @ w)), rtol=1e-4)

    # Between z of the expert and y of the policy, the gradient of params · ‖x‖² / 2 has a norm of params · ‖x‖.
    one = jax.tree.map(lambda x: x[:1].repeat(2, 0), dataset)  # its features are 0
    near, same = (jnp.broadcast_to(x, (1, 2, *x.shape)) for x in (x[0] + 6e-4, action[0]))
    ours = batch._replace(observation=near, action=same)
    config = GAILConfig(discriminator_steps=1, discriminator_batch_size=40_000)
    moved = []
    for penalty in (0.0, 1.0):
        agent = gail(echo(), Quadratic(np.ones(3)), x[0], space, one, config, sgd)
        hparams = GAILHparams(discriminator_learning_rate=1.0, gradient_penalty=penalty)
        state = agent.init(jax.random.key(0), hparams, x[0])
        state, *_ = quick_jit(agent.update)(state, ours, jax.random.key(1), jnp.float32(0), agent.constants)
        moved.append(float(state.discriminator.params[0]))
    length = np.linalg.norm((ours.observation[0, 0] - x[0]) / 1e-4)
    # ∂/∂p E[(p u ℓ − 1)²] at p = 1, for u uniform in [0, 1]: 2 ℓ²/3 − ℓ
    assert moved[0] - moved[1] == pytest.approx(2 * length**2 / 3 - length, rel=0.02)


class Drawn(Linear):
    def init(self, key, features):
        return jax.random.normal(key, features.shape[1:])


def test_no_key_is_used_twice() -> None:
    """The expert's pairs, the policy's, the places between them, and the agent."""
    batch = pairs(np.zeros((2, 3), int), np.zeros((2, 3), int))
    with watching(compiled=True) as log:

        def update(state, batch, key, env_steps, constants):
            log.use(key, "agent")
            log.notify("agent", env_steps)
            return state, {}, ()

        inside = Agent(lambda key, *_: log.use(key, "init"), None, None, update)
        config = GAILConfig(discriminator_steps=2, discriminator_batch_size=2)
        dataset = EXPERT_PAIRS._replace(reward=np.zeros(3))
        agent = gail(inside, Drawn(), STATES, ACTIONS, dataset, config)
        keys = jax.random.split(jax.random.key(0))
        state = agent.init(keys[0], GAILHparams(), FIXED())
        quick_jit(agent.update)(state, batch, keys[1], jnp.float32(5), agent.constants)
    log.check()
    assert (log.count("agent"), log.count("init")) == (1, 1)
    assert log.count("draw_features") == 4
    assert log.clocks["agent"] == [5]


def test_a_population_shares_the_dataset_and_no_state_holds_it() -> None:
    """Four agents and 18 MB of transitions."""
    size = 1_000_000
    states, numbers, ends = np.zeros(size, np.int32), np.zeros(size, np.float32), np.zeros(size, bool)
    data = Transition(states, states, numbers, ends, ends, states)
    total = sum(x.nbytes for x in jax.tree.leaves(data))
    agent = gail(ppo(actor_critic(STATES, ACTIONS, (4,))), Linear(), STATES, ACTIONS, data)
    trainer = on_policy(agent, Walk(), None, OnPolicyConfig(num_envs=4, rollout_length=4))
    hparams, keys = repeat(GAILHparams(), 4), jax.random.split(jax.random.key(0), 4)
    program = Program(trainer, keys, hparams)
    assert total > 17e6
    assert total < program.memory() < 1.3 * total
    state = jax.eval_shape(trainer.init, keys[0], GAILHparams(), trainer.constants)
    assert sum(x.size for x in jax.tree.leaves(state)) < 0.01 * size


def test_any_policy_gradient_fits_inside(demonstrations) -> None:
    """With hyperparameters of both kinds, in whole episodes if the agent needs them."""

    @jax.tree_util.register_dataclass
    @dataclasses.dataclass(frozen=True)
    class Both(DiscriminatorHparams, A2CHparams):
        pass

    network = actor_critic(STATES, ACTIONS, (4,))
    agent = gail(a2c(network), Discriminator((4,)), STATES, ACTIONS, demonstrations)
    trainer = on_policy(agent, Walk(), None, OnPolicyConfig(num_envs=2, rollout_length=3))
    shapes = jax.eval_shape(trainer.init, jax.random.key(0), Both(), trainer.constants)
    state, metrics = jax.eval_shape(trainer.step, shapes, trainer.constants)
    assert isinstance(state.agent.agent.hparams, Both)
    assert {"policy_loss", "discriminator_loss", "imitation_reward"} <= set(metrics)
    assert gail(reinforce(network), Discriminator(), STATES, ACTIONS, demonstrations).whole_episodes


def test_bad_arguments(demonstrations) -> None:
    network = actor_critic(STATES, ACTIONS, (4,))

    def make(discriminator=None, space=ACTIONS, data=demonstrations, **more):
        return gail(ppo(network), discriminator or Discriminator((4,)), STATES, space, data, **more)

    for arguments, message in (
        ({"discriminator": "a network"}, r"^network must have init and apply, .* got str$"),
        ({"config": GAILHparams()}, r"^config must be of the kind GAILConfig, got GAILHparams$"),
        ({"config": GAILConfig("neither")}, r"^reward must be one of positive, negative, got 'neither'$"),
        ({"config": GAILConfig(discriminator_steps=0)}, r"^discriminator_steps must be > 0, got 0$"),
        ({"data": {}}, r"^dataset must be of the kind Transition of recorded transitions \[M, ...\], got dict$"),
        ({"space": Discrete(1)}, r"^dataset must have actions of this environment, of which there are 1, got 2$"),
        (
            {"space": Box(np.float32([0]), np.float32([1]))},
            r"^dataset must have actions of this .*, Box.*got int32\[\]$",
        ),
    ):
        with pytest.raises(ArgumentError, match=message):
            make(**arguments)
    agent = make()
    with pytest.raises(ArgumentError, match=r"^hparams must be of the kind DiscriminatorHparams .*, got PPOHparams$"):
        agent.init(jax.random.key(0), PPOHparams(), FIXED())
    with pytest.raises(ArgumentError, match=r"^dataset must have the observation of .*, float32\[4\], got int32\[\]$"):
        agent.init(jax.random.key(0), GAILHparams(), jnp.zeros(4))
    with pytest.raises(ArgumentError, match=r"^network must return logits \[N\], here \[2\], got "):
        make(actor_critic(jnp.zeros(S + A), ACTIONS)).init(jax.random.key(0), GAILHparams(), FIXED())
    state = jax.eval_shape(agent.init, jax.random.key(0), GAILHparams(), FIXED())
    with pytest.raises(ArgumentError, match=r"^batch must be of the kind Transition, a rollout"):
        agent.update(state, (), jax.random.key(0), 0.0, agent.constants)
    with pytest.raises(ArgumentError, match=r"^constants must be of the kind GAILConstants, as Agent.constants are"):
        agent.update(state, demonstrations, jax.random.key(0), 0.0, ())
