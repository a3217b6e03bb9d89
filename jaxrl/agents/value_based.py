"""What DQN, PQN and tabular Q-learning share: ε-greedy acting, and hyperparameters of networks that learn Q."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

import jax
from annotated_types import Ge, Gt, Interval

from jaxrl import ops
from jaxrl.arguments import ArgumentError
from jaxrl.distributions import epsilon_greedy
from jaxrl.networks.network import Network, output_shapes
from jaxrl.types import Agent, Array, Decision, Input, PyTree, StateT
from jaxrl.xla.threefry import inline


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ValueBasedHparams:
    """Hyperparameters of networks that learn action values."""

    learning_rate: Annotated[float, Interval(gt=0, lt=1e30)] = 5e-4
    """Learning rate of the optimizer, > 0."""
    learning_rate_decay_steps: Annotated[float, Ge(0)] = 0.0
    """Environment steps over which the learning rate decays linearly to zero; 0 keeps it constant."""
    discount: Annotated[float, Interval(ge=0, le=1)] = 0.99
    """Discount factor γ per step, in [0, 1]."""
    epsilon_start: Annotated[float, Interval(ge=0, le=1)] = 1.0
    """Probability ε of a random action at the first step, in [0, 1]."""
    epsilon_end: Annotated[float, Interval(ge=0, le=1)] = 0.02
    """Probability of a random action after the decay, in [0, 1]."""
    epsilon_decay_steps: Annotated[float, Ge(0)] = 750_000
    """Environment steps over which ε decays linearly from epsilon-start to epsilon-end."""
    epsilon_eval: Annotated[float, Interval(ge=0, le=1)] = 0.001
    """Probability of a random action during evaluation, in [0, 1]."""
    max_grad_norm: Annotated[float, Gt(0)] = 10.0
    """Maximum global norm of the gradients, > 0; larger gradients are scaled down to it."""


def epsilon_at(hparams: ValueBasedHparams, env_steps: Array) -> Array:
    """The probability of a random action after `env_steps` environment steps, scalar."""
    return ops.linear_annealing(env_steps, hparams.epsilon_start, hparams.epsilon_end, hparams.epsilon_decay_steps)


def epsilon_greedy_agent(
    init: Callable[..., StateT],
    update: Callable,
    q_values: Callable,
    epsilon: Callable[[Any, Array], Array] = epsilon_at,
    noisy: bool = False,
) -> Agent[StateT]:
    """An agent that acts ε-greedily among the legal actions, with `hparams.epsilon_eval` during evaluation.

    Args:
        init: as `Agent.init`; its state has `hparams`.
        update: as `Agent.update`.
        q_values: `(state, observations) -> Q(s, ·)`, `[N, num_actions]`.
        epsilon: `(hparams, env_steps) -> ε` of acting.
        noisy: whether `q_values` also takes `rngs={"noise": key}`, given when acting but not during evaluation.
    """

    def act(state: PyTree, given: Input, key: Array, env_steps: Array) -> Decision:
        action_key, options = inline(key), {}
        if noisy:
            noise_key, action_key = jax.random.split(action_key)
            options["rngs"] = {"noise": noise_key}
        q = q_values(state, given.observation, **options)
        return Decision(epsilon_greedy(q, epsilon(state.hparams, env_steps), given.legal).sample(action_key))

    def policy(state: PyTree, given: Input, key: Array) -> Decision:
        q = q_values(state, given.observation)
        return Decision(epsilon_greedy(q, state.hparams.epsilon_eval, given.legal).sample(key))

    return Agent(init, act, policy, update, outputs=q_values)


def check_outputs(
    network: Network, params: PyTree, observation: PyTree, shape: tuple[int, ...], rows: str = "num_actions"
) -> None:
    """Raises `ArgumentError` if a network does not return `[N, rows, *shape]`."""
    given = output_shapes(network, params, observation)
    found = getattr(given, "shape", type(given).__name__)
    if isinstance(found, str) or len(found) != 2 + len(shape) or found[0] != 2 or found[2:] != shape:
        expected = ", ".join(["N", rows, *map(str, shape)])
        raise ArgumentError("network", f"must return [{expected}]", found, got=f"{found} for N = 2")
