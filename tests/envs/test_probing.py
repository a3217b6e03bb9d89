"""Environments are played before training: they must reset themselves, and have a legal action in each step."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments import spaces

import jaxrl
from jaxrl import ArgumentError, Decision, OffPolicyConfig, OnPolicyConfig, off_policy, on_policy, vectorize
from jaxrl.envs import check_resets
from jaxrl.envs.foreign import adapt
from tests.agents.doors import ENDS, LEGAL, Doors, Params, State
from tests.compiling import quick_jit

DOORS, N, T = Doors(), 4, 12


class Foreign:
    """`Doors` as an environment of another library."""

    name, default_params = "Foreign", None

    def reset(self, key: Any, params: Any = None) -> tuple[Any, Any]:
        return DOORS.reset(key, Params())

    def step(self, key: Any, state: Any, action: Any, params: Any = None) -> tuple[Any, ...]:
        return DOORS.step(key, state, action, Params())

    def action_space(self, params: Any = None) -> Any:
        return spaces.Discrete(4)

    def legal_actions(self, state: State, params: Any = None) -> Any:
        return DOORS.legal_actions(state, Params())


class Complete(Foreign):
    """Also says which actions are legal at the end of an episode."""

    def step(self, key: Any, state: Any, action: Any, params: Any = None) -> tuple[Any, ...]:
        *given, info = super().step(key, state, action)
        room = info["final_observation"].argmax(-1)
        return *given, info | {"final_legal_actions": jnp.asarray(LEGAL)[room].astype(jnp.int8)}


def first_legal(given: Any, key: Any) -> Any:
    return given.legal.argmax(-1)


@pytest.mark.parametrize("env", [Foreign(), Complete()], ids=["", "final ones too"])
def test_legal_actions_of_another_librarys_environment(env: Any) -> None:
    steps = quick_jit(lambda key: jaxrl.rollout(env, first_legal, key, T, N))(jax.random.key(0))
    rooms, after = (np.asarray(x).argmax(-1) for x in (steps.observation, steps.next_observation))
    assert (steps.legal.shape, steps.legal.dtype) == ((T, N, 4), bool)
    np.testing.assert_array_equal(steps.legal, LEGAL[rooms])
    assert steps.reward.min() >= 0
    ended = np.asarray(steps.terminated | steps.truncated)
    assert steps.truncated.any()
    assert steps.terminated.any()
    expected = LEGAL[after] if isinstance(env, Complete) else np.where(ended[..., None], True, LEGAL[after])
    np.testing.assert_array_equal(steps.next_legal, expected)


def test_agents_are_given_them() -> None:
    network = jaxrl.q_network(jnp.zeros(ENDS + 1), 4, (4,))
    sizes = OffPolicyConfig(num_envs=N, batch_size=8, replay_capacity=64, warmup_steps=16)
    trainer = off_policy(jaxrl.dqn(network), Foreign(), None, sizes)

    @quick_jit
    def run(key):
        return jax.lax.scan(lambda state, _: trainer.step(state), trainer.init(key, jaxrl.DQNHparams()), length=4)

    state, metrics = run(jax.random.key(0))
    assert (state.source.envs.legal.shape, state.source.envs.legal.dtype) == ((N, 4), bool)
    assert metrics["episode_return"].count.sum() > 0
    assert metrics["episode_return"].sum.min() >= 0  # a closed door costs 1000
    policy = jaxrl.actor_critic(jnp.zeros(ENDS + 1), jaxrl.action_space_of(Foreign(), None), (4,))
    rollouts = on_policy(jaxrl.ppo(policy), Foreign(), None, OnPolicyConfig(N, 8))
    jax.eval_shape(lambda key: rollouts.step(rollouts.init(key, jaxrl.PPOHparams())), jax.random.key(0))


def variation(kind: type, **methods: Any) -> Any:
    return type("Variation", (kind,), methods)()


def agent() -> jaxrl.Agent:
    def act(state: Any, given: Any, key: Any, env_steps: Any = 0) -> Decision:
        return Decision(jnp.zeros(N, jnp.int32))

    return jaxrl.Agent(lambda key, hparams, x: (), act, act, lambda state, *rest: (state, {}, ()))


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (
            variation(Foreign, legal_actions=lambda self, state, params: jnp.ones(3, bool)),
            r"Variation\.legal_actions must give bool\[4\], whether each action is legal, got bool\[3\]",
        ),
        (
            variation(Foreign, legal_actions=lambda self, state, params: jnp.ones(4)),
            r"Variation\.legal_actions must give bool\[4\], .*, got float32\[4\]",
        ),
        (
            variation(Foreign, legal_actions=lambda self, state, params: [True] * 4),
            r"Variation\.legal_actions must give bool\[4\], .*, got \[",
        ),
        (
            variation(Foreign, legal_actions=lambda self, state: jnp.ones(4, bool)),
            r"env must be called as legal_actions\(state, params\), got Variation, whose legal_actions raises TypeEr",
        ),
        (
            variation(Foreign, legal_actions=lambda self, state, params: state.walls),
            r"env must be called as legal_actions\(state, params\), got Variation, .* raises AttributeError: 'State' ",
        ),
        (
            variation(
                Foreign,
                action_space=lambda self, params: spaces.Box(-jnp.ones(1), jnp.ones(1), (1,)),
                step=lambda self, key, state, action, params: Foreign.step(self, key, state, 0),
            ),
            r"env must have discrete actions, since it says which are legal, got Variation with Box",
        ),
        (
            variation(
                Foreign,
                step=lambda self, *args: (
                    *Foreign.step(self, *args)[:5],
                    {"final_observation": jnp.zeros(6), "final_legal_actions": jnp.ones(6, bool)},
                ),
            ),
            r"Variation\.step: info\['final_legal_actions'\] must give bool\[4\], .*, got bool\[6\]",
        ),
        (
            variation(Doors, legal_actions=lambda self, state, params: jnp.ones((*state.room.shape, 4), bool)),
            r"Variation\.legal_actions must give bool\[4, 2\] for two states, .*, got bool\[2, 4\]",
        ),
        (
            variation(Doors, legal_actions=lambda self, state, params: jnp.ones((4, *state.room.shape))),
            r"Variation\.legal_actions must give bool\[4, 2\] for two states, .*, got float32\[4, 2\]",
        ),
    ],
)
def test_masks_of_the_wrong_shape_are_refused(env: Any, message: str) -> None:
    params = Params() if isinstance(env, Doors) else None
    with pytest.raises(ArgumentError, match=f"^{message}"):
        vectorize(env, params, N)


def test_a_method_may_say_nothing() -> None:
    env = variation(Foreign, legal_actions=lambda self, state, params: None)
    state = jax.eval_shape(vectorize(env, None, N).reset, jax.random.key(0))
    assert state.legal is None
    one = adapt(variation(Foreign, legal_actions=None), None)
    assert one.legal_actions(State(0, 0)) is None


def shuts(kind: type, time: int) -> Any:
    """All doors are closed in some rooms after so many steps."""

    def legal_actions(self: Any, state: State, params: Any) -> Any:
        legal = kind.legal_actions(self, state, params)  # type: ignore[attr-defined]
        return legal & ~((state.time >= time) & (state.room % 2 == 1))

    return variation(kind, legal_actions=legal_actions)


@pytest.mark.parametrize("kind", [Foreign, Doors])
def test_a_state_without_a_legal_action_is_refused(kind: Any) -> None:
    """Before anything of the training compiles."""
    params = Params() if kind is Doors else None
    message = "env must have a legal action in each step of an episode, got Variation, which has none after {} steps "
    with pytest.raises(ArgumentError, match=f"^{message.format(0)}"):
        on_policy(agent(), shuts(kind, 0), params, OnPolicyConfig(N, 2))
    with pytest.raises(ArgumentError, match=f"^{message.format(2)}"):
        off_policy(agent(), shuts(kind, 2), params, OffPolicyConfig(num_envs=N, batch_size=4))
    check_resets(shuts(kind, 3), params)  # where the episode is over


def test_traced_parameters_are_not_known() -> None:
    jax.eval_shape(partial(check_resets, shuts(Doors, 0)), Params())
