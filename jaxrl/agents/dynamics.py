"""A learned model of an environment: what model-based agents share.

An ensemble of probabilistic networks predicts the change of the observation, the reward and the termination
(`jaxrl.networks.ensemble`). Inputs and targets have mean 0 and standard deviation 1 for the networks, by statistics of
all transitions learned so far.
"""

import dataclasses
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from annotated_types import Gt, Interval, MinLen

from jaxrl.agents.normalised import Statistics, add_observations, deviation_of, no_statistics, normalise
from jaxrl.agents.optimizers import TINY, nan_if_too_large
from jaxrl.arguments import ArgumentError, check_kind
from jaxrl.networks.ensemble import Ensemble, ProbabilisticNetwork, bootstrap_weights, ensemble_loss
from jaxrl.ops.bootstrapping import ignore_after_end
from jaxrl.types import Array, Box, Discrete, Mean, Metrics, PyTree, Sample, Transition
from jaxrl.xla.threefry import drawn_once

LIMIT = 10.0
"""The largest normalised input."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DynamicsHparams:
    """Hyperparameters of a learned model."""

    model_learning_rate: Annotated[float, Interval(gt=0, lt=1e30)] = 1e-3
    """Learning rate of the model, > 0."""


@dataclasses.dataclass(frozen=True)
class DynamicsConfig:
    """The sizes of a learned model, which are static."""

    ensemble_size: Annotated[int, Interval(gt=0, lt=2**16)] = 5
    """E, networks of the model, each with a bootstrap sample of its own."""
    model_hidden_sizes: Annotated[tuple[Annotated[int, Gt(0)], ...], MinLen(1)] = (64, 64)
    """Units of each layer of a network of the model."""


class DynamicsState(NamedTuple):
    """The parameters of the networks, the optimizer's state, statistics of inputs and targets, and whether any
    transition has ended its episode, bool."""

    params: PyTree
    opt_state: optax.OptState
    inputs: Statistics
    targets: Statistics
    terminates: Array


class Step(NamedTuple):
    """What follows actions, as a model has it, `[...]`.

    Attributes:
        next_observation: `[..., F]`.
        reward: float32.
        continues: the probability that the episode goes on.
    """

    next_observation: Array
    reward: Array
    continues: Array


class Dynamics(NamedTuple):
    """A learned model as pure functions.

    Attributes:
        ensemble: its networks.
        space: the actions of the environment.
    """

    ensemble: Ensemble
    space: Discrete | Box

    def features(self, observations: Array, actions: Array) -> Array:
        """What the networks are given: observations `[..., F]` and actions in one vector."""
        if isinstance(self.space, Discrete):
            actions = jax.nn.one_hot(actions, self.space.num_actions, dtype=jnp.float32)
        return jnp.concatenate([observations, actions.astype(jnp.float32)], axis=-1)

    def init(self, key: Array, hparams: DynamicsHparams, observation: Array) -> DynamicsState:
        """The state before the first transition; its networks differ. Raises `ArgumentError` for another shape."""
        predicted = self.ensemble.network.outputs - 1
        if jnp.shape(observation) != (predicted,):
            rule = f"must have the example's shape, ({predicted},)"
            raise ArgumentError("observation", rule, observation, got=f"{jnp.shape(observation)}")
        action = jnp.int32(0) if isinstance(self.space, Discrete) else jnp.zeros(self.space.low.shape, jnp.float32)
        x, y = self.features(observation, action), jnp.zeros(observation.size + 1, jnp.float32)
        params = self.ensemble.init(key, x[None])
        statistics = [no_statistics(z) for z in (x, y)]
        assert statistics[0] is not None
        assert statistics[1] is not None
        return DynamicsState(
            params,
            _optimizer(hparams).init(params),
            statistics[0],
            statistics[1],
            terminates=jnp.bool_(False),
        )

    def weigh(self, key: Array, number: int) -> Array:
        """The bootstrap weights of new transitions, int8 `[number, E]`, to be stored with them."""
        return bootstrap_weights(key, number, self.ensemble.size)

    def check_batch(self, number: int) -> None:
        """Raises `ArgumentError` if a batch cannot be shared among the networks."""
        if number % self.ensemble.size:
            rule = f"must be a multiple of the {self.ensemble.size} networks of the ensemble"
            raise ArgumentError("batch_size", rule, number)

    def update(
        self, state: DynamicsState, hparams: DynamicsHparams, batch: Transition, weights: Array
    ) -> tuple[DynamicsState, Metrics]:
        """One gradient step of all networks, from transitions `[B]` and their bootstrap weights `[B, E]`.

        The metric `model_nll` is the mean of −log p of the change and the reward, in nats and the environment's units.
        """
        raw = self.features(batch.observation, batch.action), _targets(batch)
        seen = state.inputs, state.targets
        inputs, targets = (add_observations(z, old) for z, old in zip(raw, seen, strict=True))
        assert inputs is not None
        assert targets is not None
        x, y = normalise(raw[0], inputs, LIMIT), normalise(raw[1], targets, jnp.inf)

        def loss(params: PyTree) -> tuple[Array, Array]:
            return ensemble_loss(self.ensemble, params, x, y, batch.terminated, weights)

        (value, nll), grads = jax.value_and_grad(loss, has_aux=True)(state.params)
        updates, opt_state = _optimizer(hparams).update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        nll = nll + jnp.log(_deviation(targets)).sum()
        metrics = {"model_loss": nan_if_too_large(value, grads), "model_nll": nll}
        learned = DynamicsState(params, opt_state, inputs, targets, state.terminates | batch.terminated.any())
        return learned, {k: Mean.of(v) for k, v in metrics.items()}

    def sample(self, state: DynamicsState, observations: Array, actions: Array, key: Array) -> Step:
        """A sample of what follows in `[E, N]` states, the i-th row from the i-th network.

        Nothing ends an episode before a transition that did has been learned.

        Args:
            state: of the model.
            observations: `[E, N, F]`.
            actions: `[E, N]`, or `[E, N, D]` for a box.
            key: a random key.
        """
        x = normalise(self.features(observations, actions), state.inputs, LIMIT)
        prediction = self.ensemble.apply(state.params, x)
        noise = jax.random.normal(drawn_once(key), prediction.mean.shape, jnp.float32)
        y = prediction.mean + jnp.exp(0.5 * prediction.log_variance) * noise
        change = state.targets.mean + _deviation(state.targets) * y
        # Half of the layers are those of terminations, and many environments have none.
        continues = jax.lax.cond(
            state.terminates,
            lambda: jax.nn.sigmoid(-self.ensemble.apply(state.params, x).termination),
            lambda: jnp.ones(change.shape[:-1], jnp.float32),
        )
        return Step(observations + change[..., :-1], change[..., -1], continues)


def dynamics(observation: Any, space: Discrete | Box, config: DynamicsConfig) -> Dynamics:
    """A model of an environment.

    Args:
        observation: an example, with a shape and a dtype.
        space: the actions.
        config: the sizes.

    Raises:
        ArgumentError: observations are not one vector of floats.
    """
    shape: tuple[int, ...] = getattr(observation, "shape", ())
    if len(shape) != 1 or 0 in shape or not jnp.issubdtype(observation.dtype, jnp.floating):
        rule = "must have observations that are one vector of floats, which the model can predict"
        got = f"{observation.dtype}{list(shape)}" if hasattr(observation, "dtype") else type(observation).__name__
        raise ArgumentError("env", rule, None, got)
    network = ProbabilisticNetwork(shape[0] + 1, config.model_hidden_sizes)
    return Dynamics(Ensemble(network, config.ensemble_size), space)


def single_steps(batch: Any) -> Transition:
    """The transitions `[B]` of a sample; raises `ArgumentError` if it is none, or of longer sequences."""
    check_kind("batch", batch, Sample, ", from a replay, as in jaxrl.off_policy")
    if (steps := len(batch.transitions.reward)) != 1:
        raise ArgumentError("n_step", "must be 1, since the model predicts single steps", steps)
    return jax.tree.map(lambda x: x[0], batch.transitions)


def _targets(batch: Transition) -> Array:
    """The change of the observation, and the reward, `[B, F + 1]`. NaN after a termination is no change."""
    change = ignore_after_end(batch.next_observation - batch.observation, ~batch.terminated[..., None])
    return jnp.concatenate([change, batch.reward[..., None]], axis=-1)


def _deviation(seen: Statistics) -> Array:
    """The standard deviation; 1 before the first transition."""
    return jnp.where(seen.count > 0, deviation_of(seen), 1.0)


def _optimizer(hparams: DynamicsHparams) -> optax.GradientTransformation:
    """Without a clip of the norm, in which the likelihood's gradients would take all from those of terminations."""
    return optax.adam(hparams.model_learning_rate, eps_root=TINY)
