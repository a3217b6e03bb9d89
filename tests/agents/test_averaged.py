"""Averaged parameters: they act, and others learn."""

from typing import NamedTuple

import jax.numpy as jnp
import pytest

from jaxrl.agents.averaged import averaged
from jaxrl.arguments import ArgumentError
from jaxrl.types import Agent, Array, Decision
from tests.compiling import quick_jit


class State(NamedTuple):
    params: dict[str, Array]
    seen: list[float]


def counting() -> Agent:
    """Its parameters are 4, and become 5, 6, 7 …; everything else shows them."""

    def update(state, batch, key, env_steps, constants):
        x = state.params["x"] + 1
        return State({"x": x}, [*state.seen, float(x)]), {"loss": batch}, "errors"

    return Agent(
        init=lambda key, hparams, observation: State({"x": jnp.float32(4)}, []),
        act=lambda state, given, key, env_steps: Decision(state.params["x"]),
        policy=lambda state, given, key: Decision(state.params["x"]),
        update=update,
        memory=lambda state, num_envs: (state.params["x"], num_envs),
        prepare=lambda state, batch: state.params["x"],
        outputs=lambda state, observations: state.params["x"],
        needs_env_states=True,
    )


def test_the_mean_acts_and_the_newest_learns() -> None:
    agent = averaged(counting(), 0.75)
    state = quick_jit(agent.init)(None, (), None)
    for _ in range(3):
        state, metrics, errors = agent.update(state, "batch", None, 0, ())
    assert (metrics, errors) == ({"loss": "batch"}, "errors")
    assert state.agent.seen == [5, 6, 7]
    mean = 0.75 * (0.75 * (0.75 * 4 + 0.25 * 5) + 0.25 * 6) + 0.25 * 7
    assert float(state.params["x"]) == pytest.approx(mean)
    shown = agent.act(state, None, None, 0).action, agent.policy(state, None, None).action, agent.memory(state, 4)[0]
    assert agent.outputs is not None
    for x in (*shown, agent.prepare(state, None), agent.outputs(state, None)):
        assert float(x) == pytest.approx(mean)
    assert agent.memory(state, 4)[1] == 4
    assert agent.needs_env_states
    assert averaged(counting()._replace(outputs=None)).outputs is None


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_out_of_bounds_is_refused(decay: float) -> None:
    with pytest.raises(ArgumentError, match=r"^decay must be"):
        averaged(counting(), decay)
