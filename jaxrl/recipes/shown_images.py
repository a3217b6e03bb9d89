"""What trained agents do with new images."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxrl.arguments import ArgumentError
from jaxrl.envs.digits import Drawn
from jaxrl.envs.spaces import name_of
from jaxrl.random import key_stream
from jaxrl.runs import run_directory
from jaxrl.types import Agent, Array, Decision, Input, PyTree

NUMBER, CHUNK = 10_000, 1_000
"""New images, and how many of them an agent sees at once."""


class Shown(NamedTuple):
    """New images, on the host.

    Attributes:
        drawn: the images `[M]`.
        decisions: what each agent decides when it sees them, `[A, M, ...]`.
    """

    drawn: Any
    decisions: Any


def check_shows(env: Any, kind: type) -> None:
    """Raises `ArgumentError` if an environment is not of a kind that draws images with their answers."""
    if not isinstance(env, kind):
        rule = f"must be {kind.__name__}, which draws images with their answers"
        raise ArgumentError("env", rule, name_of(env))


def show_test_images(agent: Agent, env: Any, agent_states: PyTree, directory: Path) -> Shown:
    """Shows new images to agents, whose states are `[A]`; a function of the run's seed."""
    image_key, policy_key = jax.random.split(key_of(directory))
    keys = jax.random.split(image_key, (NUMBER // CHUNK, CHUNK))
    policy_keys = jax.random.split(policy_key, NUMBER // CHUNK)

    @jax.jit
    def show(agent_states: PyTree) -> tuple[Drawn, Decision]:
        drawn = jax.lax.map(jax.vmap(env.draw), keys)

        def decide(agent_state: PyTree, chunk: tuple[Array, Array]) -> Decision:
            image, key = chunk
            memory = agent.memory(agent_state, CHUNK)
            decision = agent.policy(agent_state, Input(image, memory=memory), key)
            return Decision(decision.action, extras=decision.extras)

        each = jax.lax.map(lambda state: jax.lax.map(partial(decide, state), (drawn.image, policy_keys)), agent_states)
        whole = jax.tree.map(lambda x: x.reshape(x.shape[0], -1, *x.shape[3:]), each)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), drawn), whole

    return Shown(*jax.device_get(show(agent_states)))


def key_of(directory: Path) -> Array:
    """The key of what a run shows its agents at the end."""
    return key_stream(run_directory.read_config(directory)["options"]["seed"], "later evaluation")


def wrong_answers(shown: Shown) -> dict[str, Any]:
    """The shares of images that are named wrongly."""
    errors = (shown.decisions.action != shown.drawn.answer[:, 0]).mean(1)
    return {"test_error": float(errors.mean()), "test_error_per_seed": errors.tolist()}
