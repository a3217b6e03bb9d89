"""A foreign environment that observes a dict of a board, a vector, a step count and a numbered state."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from gymnax.environments import spaces

NUM_STATES, CAP = 5, 4


class State(NamedTuple):
    state: jax.Array
    steps: jax.Array


class Parts:
    """Walks through five states, forward with action 1; the reward is 1 for action 1 in an even state, 0 in an odd one.

    Every part of the observation follows from the state and the steps: see `wrong_parts`.
    """

    name, default_params = "Parts", None

    def observe(self, key: Any, state: State, action: Any = None, params: Any = None) -> dict[str, Any]:
        return {
            "board": jnp.zeros((3, 4, 2), bool).at[state.steps % 3, state.state % 4, state.state % 2].set(True),
            "vector": jnp.stack([state.state / 4, state.steps / 8, -1.5]).astype(jnp.float16),
            "steps": state.steps.astype(jnp.int8),
            "in": state.state,
        }

    def reset(self, key: Any, params: Any = None) -> tuple[Any, State]:
        state = State(jax.random.randint(key, (), 0, NUM_STATES), jnp.int32(0))
        return self.observe(key, state), state

    def step(self, key: Any, state: State, action: Any, params: Any = None) -> tuple[Any, ...]:
        reward = (action == 1 - state.state % 2).astype(jnp.float32)
        after = State((state.state + action) % NUM_STATES, state.steps + 1)
        final, truncated = self.observe(key, after), after.steps >= CAP
        observation, begun = jax.tree.map(lambda x, y: jnp.where(truncated, x, y), self.reset(key), (final, after))
        return observation, begun, reward, jnp.bool_(False), truncated, {"final_observation": final}

    def action_space(self, params: Any = None) -> Any:
        return spaces.Discrete(2)

    def observation_space(self, params: Any = None) -> Any:
        return spaces.Dict(
            {
                "vector": spaces.Box(-2, 2, (3,), jnp.float16),
                "board": spaces.Box(0, 1, (3, 4, 2), bool),
                "steps": spaces.Box(0, CAP, (), jnp.int8),
                "in": spaces.Discrete(NUM_STATES),
            }
        )


def wrong_parts(observation: dict[str, jax.Array]) -> jax.Array:
    """How many parts of observations `[...]` do not belong to the others."""
    states, steps = observation["in"], observation["steps"].astype(jnp.int32)
    flat = State(states.reshape(-1), steps.reshape(-1))
    expected = jax.vmap(lambda state: Parts().observe(None, state))(flat)
    parts = zip(*map(jax.tree.leaves, (expected, observation)), strict=True)
    return sum(((x.reshape(y.shape) != y).sum() for x, y in parts), jnp.int32(0))
