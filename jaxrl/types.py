"""The records that all parts of jaxrl exchange.

Axis letters, used in every docstring:

    ``T``  time steps of a rollout              ``N``  environments in lockstep
    ``B``  transitions in a batch               ``A``  agents of a population (their seeds, their hyperparameters)
    ``W``  random words of one environment step ``[...]`` any batch axes, or none
"""

from collections.abc import Callable, Collection
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array
PyTree = Any
Hparams = Any
"""A pytree of hyperparameters, such as `jaxrl.DQNHparams`, a dict, or `()` for none.

Hyperparameters are traced arrays in the agent's state. Changing one never recompiles, and a population may have another
value for each agent. `Config` classes hold what is static instead: it decides shapes or code.
"""


class Mean(NamedTuple):
    """A mean as its sum and its count, which can be added up, masked, averaged and sharded."""

    sum: Array
    count: Array  # type: ignore[assignment]  # hides tuple.count

    @classmethod
    def of(cls, x: Array) -> "Mean":
        """The mean of one number."""
        return cls(x, jnp.int32(1))

    def value(self) -> np.ndarray:
        """The mean on the host: NaN where nothing was counted."""
        sums, counts = np.asarray(self.sum), np.asarray(self.count)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


Metrics = dict[str, Mean]


def total(metrics: Metrics) -> Metrics:
    """Sums metrics over all their axes."""
    return jax.tree.map(lambda x: x.sum(dtype=x.dtype), metrics)


def select_rows(mask: Array | np.ndarray, x: PyTree, y: PyTree) -> PyTree:
    """Leaves `[*mask.shape, ...]` with the rows of `x` where a mask, bool, is True, and else those of `y`."""

    def select(x: Array, y: Array) -> Array:
        return jnp.where(mask.reshape(*mask.shape, *(1,) * (x.ndim - mask.ndim)), x, y)

    return jax.tree.map(select, x, y)


class Unit(NamedTuple):
    """The steps that a trainer counts.

    Attributes:
        column: their name in `metrics.csv` and other tables.
        words: what they are.
    """

    column: str
    words: str

    def place(self, steps: int) -> str:
        """Where in a run something happened, such as "environment step 100"."""
        return f"{self.words.removesuffix('s')} {steps}"


ENV_STEPS = Unit("env_steps", "environment steps")
GRADIENT_STEPS = Unit("gradient_steps", "gradient steps")
ITERATIONS = Unit("iterations", "iterations")


def unit_of(columns: Collection[str]) -> Unit:
    """What a table with these columns, or a summary with these entries, counts."""
    return next((unit for unit in (GRADIENT_STEPS, ITERATIONS) if unit.column in columns), ENV_STEPS)


class Input(NamedTuple):
    """What an agent acts on in `N` environments.

    Attributes:
        observation: `[N, *observation]`.
        legal: which actions are legal, bool `[N, num_actions]`, at least one in each environment. None if the
            environment does not say, since all are.
        memory: what the agent remembers, `[N, ...]`, such as the state of a recurrent network; see `Agent.memory`.
        env_states: the states of the environments, for agents that plan with them; `()` if unknown.
        constants: `Agent.constants` in training, for `Agent.act`; `()` in evaluation, where a policy has none.
    """

    observation: PyTree
    legal: Array | None = None
    memory: PyTree = ()
    env_states: PyTree = ()
    constants: PyTree = ()


class Decision(NamedTuple):
    """What an agent decides in `N` environments.

    Attributes:
        action: `[N]`, or `[N, D]` for a box.
        memory: what it remembers in the next step, like `Input.memory`.
        extras: what its `update` needs again, such as the action's log-probability, `[N, ...]`. Stored with the
            transition.
    """

    action: Array
    memory: PyTree = ()
    extras: PyTree = ()


class Transition(NamedTuple):
    """One step of an environment. It holds both observations, so it needs no neighbour in the replay.

    Attributes:
        observation: the agent's input, `[..., *observation]`.
        action: the action taken, `[...]`, or `[..., D]` for a box.
        reward: float32 `[...]`.
        terminated: whether the environment's rules ended the episode, so that nothing follows; bool `[...]`.
        truncated: whether the episode was cut, as by a time limit; `next_observation` still has a value; bool `[...]`.
        next_observation: what followed, before any reset, `[..., *observation]`.
        legal: which actions were legal, bool `[..., num_actions]`; None if the environment does not say.
        next_legal: which actions are legal in `next_observation`, likewise.
        extras: `Decision.extras`, after `Agent.prepare`.
    """

    observation: PyTree
    action: Array
    reward: Array
    terminated: Array
    truncated: Array
    next_observation: PyTree
    legal: Array | None = None
    next_legal: Array | None = None
    extras: PyTree = ()


class Sample(NamedTuple):
    """A batch from a replay buffer.

    Attributes:
        transitions: sequences of `n` consecutive steps of one environment, `[n, B]`. Steps after the end of an episode
            belong to the next one.
        weights: importance weight of each sequence's loss, float32 `[B]`; 1 in a uniform replay.
    """

    transitions: Transition
    weights: Array


class Discrete(NamedTuple):
    """The actions `0 .. num_actions - 1`, int `[...]`."""

    num_actions: int


class Box(NamedTuple):
    """Actions float `[..., D]` between two finite bounds, float32 `[D]`, with low < high."""

    low: np.ndarray
    high: np.ndarray


class MDP(NamedTuple):
    """A finite Markov decision process as arrays: `(S, A, R, P, γ)` and the distribution of first states.

    `S` states and `A` actions are numbered from 0. Many problems of one size stack into a batch for `vmap`.

    Attributes:
        transition: `P[s, a, s']`, the probability that action `a` in state `s` leads to `s'`, float32 `[S, A, S]`.
        reward: `R[s, a]`, the expected reward of action `a` in state `s`, float32 `[S, A]`.
        discount: `γ`, float32 scalar in [0, 1].
        terminal: whether the episode is over in a state, bool `[S]`. All actions in such a state lead back to it with
            reward 0, so that the equations of planning need no special case.
        initial: `p(s_0)`, the probability that an episode starts in each state, float32 `[S]`.
    """

    transition: Array
    reward: Array
    discount: Array
    terminal: Array
    initial: Array


StateT = TypeVar("StateT")


def no_memory(state: Any, num_envs: int) -> tuple[()]:
    """The memory of an agent without one."""
    del state, num_envs
    return ()


def same_extras(state: Any, transitions: Transition) -> PyTree:
    """The extras of transitions as the agent decided them."""
    del state
    return transitions.extras


class Agent(NamedTuple, Generic[StateT]):
    """A learning algorithm as a record of pure functions, independent of environment, replay and device.

    Attributes:
        init: `(key, hparams, observation) -> state`. `observation` is one example, without a batch axis.
        act: `(state, Input [N], key, env_steps) -> Decision [N]`, with exploration.
        policy: `(state, Input [N], key) -> Decision [N]`, for evaluation. Its extras are ignored, but in
            videos of images of digits.
        update: `(state, batch, key, env_steps, constants) -> (state, metrics, errors)`. `batch` is a rollout, a
            `Transition` `[T, N]`, or a `Sample` from a replay. For a prioritised replay, `errors` are `[B]`.
        memory: `(state, num_envs) -> memory [N, ...]` at the start of an episode. Agents without one have `()`.
        prepare: `(state, Transition [T, N]) -> extras [T, N, ...]`: called once for what was collected, before it is
            stored or learned, as for returns or search targets. By default it keeps the extras.
        constants: arrays that `update` and `act` read and never change, such as a dataset or an expert's parameters.
            They are neither copied for each agent of a population nor saved.
        outputs: `(state, observations[N]) -> Q(s, ·) [N, num_actions]`, or a `jaxrl.distributions.Distribution`.
            Optional; trainers use it to refuse an agent with another number of actions than the environment.
        whole_episodes: whether every rollout must begin with an episode, as with `OnPolicyConfig.reset_each_rollout`.
            Trainers check this.
        needs_env_states: whether `act` and `policy` need `Input.env_states`, which observations alone do not give.
        searches: whether `policy` searches, with the policy that is in `outputs`.

    `env_steps` is the trainer's clock, a float32 scalar: the environment steps of one agent so far, over all its
    environments; in the offline trainer its gradient steps, and without data its iterations. Schedules depend on it
    alone, so a run can be extended.
    """

    init: Callable[[Array, Hparams, PyTree], StateT]
    act: Callable[[StateT, Input, Array, Array], Decision]
    policy: Callable[[StateT, Input, Array], Decision]
    update: Callable[..., tuple[StateT, Metrics, PyTree]]
    memory: Callable[[StateT, int], PyTree] = no_memory
    prepare: Callable[[StateT, Transition], PyTree] = same_extras
    constants: PyTree = ()
    outputs: Callable[[StateT, PyTree], Any] | None = None
    whole_episodes: bool = False
    needs_env_states: bool = False
    searches: bool = False


class TrainState(NamedTuple, Generic[StateT]):
    """The complete state of a run: a restored state continues the run bit for bit.

    Attributes:
        iteration: calls of `Trainer.step` so far, int32 scalar. The only clock: schedules, ring positions and random
            streams derive from it. The agents of a population share one.
        key: the run's random key; iteration `i` uses `fold_in(key, i)`.
        agent: the agent's state (parameters, optimizer state, hyperparameters).
        source: the state of what it acts in: the `N` environments, and its memory in each; `()` if it does not act.
        replay: stored transitions and the state of their sampler, or `()` in trainers without a replay.
    """

    iteration: Array
    key: Array
    agent: StateT
    source: PyTree
    replay: PyTree = ()


class Trainer(NamedTuple, Generic[StateT]):
    """An agent and the source of its data as a record of pure functions, ready for `jit`, `vmap` and `scan`.

    Attributes:
        init: `(key, hparams, constants=()) -> TrainState`. It includes the warm-up, so that `step` needs no branch.
        step: `(TrainState, constants=()) -> (TrainState, Metrics)`; a fixed rollout and a fixed number of updates.
        steps_per_iteration: steps of one agent in one `step`, counted in `unit`.
        warmup_steps: steps of one agent in `init`, likewise.
        max_iterations: how often `step` may be called before an int32 counter overflows.
        num_envs: N, the environments of one agent, which several devices can share; 0 if it has none.
        env_axes: a `TrainState` of the axes that count environments, None for what they share. As in `vmap`, one entry
            stands for a whole part of the state.
        constants: the last argument of `init` and `step`: arrays that are the same for all agents of a population.
        unit: what its steps are.
        stages: a `jaxrl.training.stages.Stages`: what `init` and `step` do before and after the environments step, for
            environments that step on the host; None without environments.
    """

    init: Callable[..., TrainState[StateT]]
    step: Callable[..., tuple[TrainState[StateT], Metrics]]
    steps_per_iteration: int
    warmup_steps: int
    max_iterations: int
    num_envs: int
    env_axes: TrainState
    constants: PyTree = ()
    unit: Unit = ENV_STEPS
    stages: Any = None

    def steps_at(self, iteration: Any) -> Any:
        """Steps of one agent after so many iterations, an int or an array of them."""
        return self.warmup_steps + iteration * self.steps_per_iteration

    @property
    def on_host(self) -> bool:
        """Whether its environments step on the host."""
        return self.stages is not None and self.stages.envs.host is not None
