"""Environments of other libraries: their results are cast if possible, and else refused in a line."""

from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments import spaces

import jaxrl
from jaxrl.arguments import ArgumentError
from jaxrl.envs.foreign import adapt
from tests.compiling import quick_jit

N, T = 3, 12


class State(NamedTuple):
    x: Any
    time: Any


class Walk:
    """Starts at 0; action 1 moves right, any other left; ends at 3 with reward 1, and at -3; truncated at 8 steps."""

    name, default_params = "Walk", None

    def observation(self, state: State) -> Any:
        return jnp.stack([state.x, state.time]).astype(jnp.float32)

    def reset(self, key: Any, params: Any = None) -> tuple[Any, State]:
        state = State(jnp.int32(0), jnp.int32(0))
        return self.observation(state), state

    def reward(self, state: State) -> Any:
        return jnp.where(state.x >= 3, 1.0, 0.0)

    def ends(self, state: State) -> Any:
        return jnp.abs(state.x) >= 3

    def step(self, key: Any, state: State, action: Any, params: Any = None) -> tuple[Any, ...]:
        after = State(state.x + jnp.where(action > 0, 1, -1), state.time + 1)
        terminated, truncated = self.ends(after), after.time >= 8
        final = self.observation(after)
        done = jnp.reshape((terminated != 0) | truncated, ())
        observation, begun = jax.tree.map(lambda x, y: jnp.where(done, x, y), self.reset(key), (final, after))
        return observation, begun, self.reward(after), terminated, truncated, {"final_observation": final}

    def action_space(self, params: Any = None) -> Any:
        return spaces.Discrete(2)


def variation(**methods: Any) -> Any:
    return type("Variation", (Walk,), methods)()


def changed(change: Any) -> Any:
    """A walk whose step returns `change` of the six values."""
    return variation(step=lambda self, *arguments: change(*Walk.step(self, *arguments)))


def right(given: Any, key: Any) -> Any:
    return jnp.ones(N, jnp.int32)


def played(env: Any, policy: Any = right) -> Any:
    return jax.device_get(jaxrl.rollout(env, policy, jax.random.key(0), T, N))


@pytest.mark.parametrize(
    "env",
    [
        variation(ends=lambda self, state: (jnp.abs(state.x) >= 3).astype(jnp.int32)),
        variation(ends=lambda self, state: (jnp.abs(state.x) >= 3).astype(jnp.float32)),  # as brax's
        variation(ends=lambda self, state: (jnp.abs(state.x) >= 3)[None]),
        variation(reward=lambda self, state: jnp.where(state.x >= 3, 1.0, 0.0)[None]),
        variation(reward=lambda self, state: (state.x >= 3).astype(jnp.int32)),
        variation(reward=lambda self, state: state.x >= 3),
        changed(lambda o, s, r, te, tr, info: (o.astype(jnp.bfloat16), s, r, te, tr, info)),
        changed(lambda o, s, r, te, tr, info: (o, s, r, te, tr | te, info)),
    ],
    ids=["int end", "float end", "end [1]", "reward [1]", "int reward", "bool reward", "another float", "both ends"],
)
def test_what_can_be_cast_is_the_same_environment(env: Any) -> None:
    expected, found = played(Walk()), played(env)
    assert jax.tree.map(lambda x: x.dtype, found) == jax.tree.map(lambda x: x.dtype, expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (
            changed(lambda o, s, r, te, tr, info: (o, s, r, te | tr, info)),
            r"env\.step must give \(observation, .*, got 5 ",
        ),
        (
            changed(lambda o, s, r, te, tr, info: (o, s, r, te, tr, {})),
            "env.step must give an info with final_observat",
        ),
        (
            changed(lambda o, s, r, te, tr, info: (o, s, r, te, tr, None)),
            "env.step must give an info with final_observa",
        ),
        (
            changed(lambda o, s, r, *more: (o, s, jnp.zeros(2), *more)),
            r"env\.step must give one number as reward, got fl",
        ),
        (
            changed(lambda o, s, r, te, *more: (o, s, r, (), *more)),
            "env.step must give one number as terminated, got 0 v",
        ),
        (
            changed(lambda o, s, *more: (o, s._replace(x=1.5 * s.x), *more)),
            r"Variation\.step must give a state as reset",
        ),
        (
            changed(lambda o, *more: (o[:1], *more)),
            r"Variation: step must give an observation as reset does, got float32",
        ),
        (
            changed(lambda o, *more: ({"o": o}, *more)),
            "Variation: step must give an observation as reset does, got {'o'",
        ),
        (
            variation(reset=lambda self, key, params: jnp.zeros(2)),
            r"env\.reset must give \(observation, state\), got fl",
        ),
        (
            variation(reset=lambda self, key: ()),
            r"env must be called as reset\(key, params\), got Variation, whose reset",
        ),
        (
            variation(observation=lambda self, state: jnp.zeros(0)),
            r"env must observe one real number or more, got fl",
        ),
        (type(variation()), r"env must be an instance, Variation\(\), got the class Variation itself"),
        (
            variation(observation=lambda self, state: jnp.ones(2) * 1j),
            r"env must observe one real number or more, got com",
        ),
        (variation(step=None), r"env must have gymnax 1\.0's interface, got Variation, which has no step\(\)"),
        (
            gymnasium.make("CartPole-v1"),
            r"env must be a pure function of arrays, .* jaxrl.make\('gymnasium:NAME'\), got gymnasium's Time",
        ),
        (jaxrl.make("CartPole-v1"), "env must be an environment alone, without its parameters, got "),
    ],
)
def test_anything_else_is_refused_in_a_line(env: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{message}") as error:
        played(env)
    assert "\n" not in str(error.value)


class Shows(Walk):
    """Observes the action that it receives."""

    def step(self, key: Any, state: State, action: Any, params: Any = None) -> tuple[Any, ...]:
        *given, _ = Walk.step(self, key, state, 1)
        return *given, {"final_observation": jnp.stack([action, action]).astype(jnp.float32)}

    def action_space(self, params: Any = None) -> Any:
        return gymnasium.spaces.Discrete(3, start=-1)


def test_a_space_of_gymnasium_begins_where_it_says() -> None:
    one = played(Shows(), lambda given, key: jnp.arange(N))
    np.testing.assert_array_equal(one.action, np.tile(np.arange(N), (T, 1)))  # from the policy
    np.testing.assert_array_equal(one.next_observation[..., 0], one.action - 1)  # for the environment


class Keeps(Walk):
    """Keeps its key in its state, as jumanji and brax do."""

    def reset(self, key: Any, params: Any = None) -> tuple[Any, Any]:
        return jnp.zeros(2), (jnp.int32(0), key)

    def step(self, key: Any, state: Any, action: Any, params: Any = None) -> tuple[Any, ...]:
        t, _ = state
        done, (kept, other) = t >= 4, jax.random.split(key)
        after = jax.lax.cond(done, lambda: (jnp.int32(0), other), lambda: (t + 1, kept))
        after = after[0], jax.lax.select(done, other, after[1])
        return jnp.zeros(2), after, jnp.float32(1), done, jnp.bool_(False), {"final_observation": jnp.zeros(2)}


class Draws(Walk):
    """Observes random numbers; `mixes` combines its key with one of its own, as one of another generator cannot be."""

    def __init__(self, mixes: bool) -> None:
        self.mixes, self.kinds = mixes, set[str]()

    def step(self, key: Any, state: Any, action: Any, params: Any = None) -> tuple[Any, ...]:
        self.kinds.add(str(key.dtype))
        if self.mixes:
            key = jax.lax.select(action > 0, key, jax.random.key(7, impl="threefry2x32"))
        first, second = jax.random.split(jax.random.fold_in(key, action))
        seen = jax.random.uniform(first, (2,)) + jax.random.randint(second, (), 0, 9)
        done = jnp.bool_(False)
        return seen, state, jax.random.normal(second), done, done, {"final_observation": seen}


@pytest.mark.parametrize("mixes", [False, True])
def test_an_environment_draws_the_numbers_of_its_key(mixes: bool) -> None:
    """Whether it is given keys that are quick to draw from or, if it does not take them, ordinary ones."""
    env = Draws(mixes)
    one, (_, state) = adapt(env, None), env.reset(jax.random.key(0))
    for action in range(3):
        key = jax.random.key(action + 5)
        found = jax.jit(one.step)(key, state, jnp.int32(action))
        observation, _, reward, *_ = Draws(mixes).step(key, state, jnp.int32(action))
        np.testing.assert_array_equal(found[0], observation)
        np.testing.assert_allclose(found[2], reward, rtol=1e-6)
    assert any("once" in kind for kind in env.kinds)  # tried, or taken
    env.kinds.clear()
    jax.eval_shape(lambda *given: one.step(*given), key, state, jnp.int32(0))
    assert all(("once" in kind) != mixes for kind in env.kinds)
    assert env.kinds


NETWORK = jaxrl.q_network(jnp.zeros(2), 2, hidden_sizes=(2,))
MINIBATCHES = jaxrl.MinibatchConfig(1, 2)


def trainers(env: Any) -> list[tuple[jaxrl.Trainer, Any]]:
    """Trainers with hyperparameters, one for each way to step an environment."""
    sizes = jaxrl.OffPolicyConfig(num_envs=4, batch_size=16, replay_capacity=64, warmup_steps=64)
    pqn = jaxrl.pqn(NETWORK, MINIBATCHES)
    return [
        (jaxrl.off_policy(jaxrl.dqn(NETWORK), env, None, sizes), jaxrl.DQNHparams()),
        (jaxrl.on_policy(pqn, env, None, jaxrl.OnPolicyConfig(4, 16)), jaxrl.PQNHparams()),
        (jaxrl.on_policy(pqn, env, None, jaxrl.OnPolicyConfig(4, 16, reset_each_rollout=True)), jaxrl.PQNHparams()),
    ]


def test_an_environment_may_keep_its_key_in_every_trainer() -> None:
    assert played(Keeps()).terminated.sum() == N * (T // 5)
    for trainer, hparams in trainers(Keeps()):
        state = jax.eval_shape(trainer.init, jax.random.key(0), hparams)
        jax.eval_shape(lambda state, step=trainer.step: jax.lax.fori_loop(0, 2, lambda _, x: step(x)[0], state), state)


@pytest.mark.parametrize("name", ["left at its end", "cut for ever", "one-step episodes", "an ordinary walk"])
def test_an_environment_that_does_not_reset_itself_is_refused(name: str) -> None:
    def without_reset(self: Any, key: Any, state: State, action: Any, params: Any = None) -> tuple[Any, ...]:
        after = State(state.x + jnp.where(action > 0, 1, -1) * (jnp.abs(state.x) < 3), state.time + 1)
        final = self.observation(after)
        return final, after, self.reward(after), self.ends(after), after.time >= 8, {"final_observation": final}

    def without_rules(self: Any, *arguments: Any) -> tuple[Any, ...]:
        *given, _, truncated, info = without_reset(self, *arguments)
        return *given, jnp.bool_(False), truncated, info

    steps = {"left at its end": without_reset, "cut for ever": without_rules}
    methods = {
        **{key: {"step": x} for key, x in steps.items()},
        "one-step episodes": {"ends": lambda self, state: True},
    }
    env = variation(**methods.get(name, {}))
    agent = jaxrl.ppo(jaxrl.actor_critic(jnp.zeros(2), jaxrl.action_space_of(env, None)))
    if name in steps:
        with pytest.raises(
            ArgumentError, match=r"^env must reset itself where an episode ends, got Variation, which end"
        ):
            jaxrl.on_policy(agent, env, None, jaxrl.OnPolicyConfig(2, 2))
    else:
        jaxrl.on_policy(agent, env, None, jaxrl.OnPolicyConfig(2, 2))


def test_a_last_observation_may_be_nan() -> None:
    """Nothing follows it, so its value is zero for any learner."""

    def explodes(self: Any, state: State) -> Any:
        return jnp.where(jnp.abs(state.x) >= 3, jnp.nan, Walk.observation(self, state))

    env = variation(observation=explodes)
    assert np.isnan(played(env).next_observation).any()
    policy = jaxrl.actor_critic(jnp.zeros(2), jaxrl.action_space_of(env, None), hidden_sizes=(2,))
    ppo = jaxrl.on_policy(jaxrl.ppo(policy, MINIBATCHES), env, None, jaxrl.OnPolicyConfig(4, 16))
    for trainer, hparams in [*trainers(env)[:2], (ppo, jaxrl.PPOHparams())]:

        def learn(key: Any, trainer: Any = trainer, hparams: Any = hparams) -> Any:
            state, metrics = trainer.step(trainer.init(key, hparams))
            return state.agent, metrics

        for x in jax.tree.leaves(quick_jit(learn)(jax.random.key(0))):
            assert np.isfinite(x).all()
