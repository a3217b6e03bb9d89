"""optax's optimizers with finite derivatives of their own, for gradients through training, such as of a learning rate.

√x has no derivative at 0, and optax takes the root of numbers that are 0 where a gradient is 0, such as that of a unit
that is never active. The updates themselves are optax's, bit for bit.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxrl import ops
from jaxrl.arguments import ArgumentError
from jaxrl.types import Array, PyTree

Optimizer = Callable[[Any, Array], optax.GradientTransformation]
"""`(hparams, env_steps) -> optax.GradientTransformation`, from traced hyperparameters and the trainer's clock.

Its state must have the same shapes for all arguments. Agents call it anew for each step.
"""

TINY = 1e-36
"""Under a root, near the smallest float32, 1e-38. Its root, 1e-18, is lost in what the optimizers add to it."""


def check_optimizer(optimizer: Any) -> None:
    """Raises an `ArgumentError` if an argument is no `Optimizer`, such as one of optax itself."""
    if not callable(optimizer):
        rule = "must be a function (hparams, env_steps) -> optax.GradientTransformation"
        raise ArgumentError("optimizer", rule, optimizer, got=type(optimizer).__name__)


def adam(learning_rate: ArrayLike, max_grad_norm: ArrayLike, eps: ArrayLike = 1e-8) -> optax.GradientTransformation:
    """Adam after a clip of the global gradient norm. The shape of its state does not depend on the arguments."""
    return optax.chain(clip_by_global_norm(max_grad_norm), optax.adam(learning_rate, eps=eps, eps_root=TINY))


def radam(learning_rate: ArrayLike, max_grad_norm: ArrayLike) -> optax.GradientTransformation:
    """RAdam after a clip of the global gradient norm. The shape of its state does not depend on the arguments."""
    rectified = optax.chain(scale_by_radam(), optax.scale_by_learning_rate(learning_rate))
    return optax.chain(clip_by_global_norm(max_grad_norm), rectified)


def learning_rate_at(hparams: Any, env_steps: ArrayLike) -> Array:
    """The step size after `env_steps` environment steps: `learning_rate`, decayed over `learning_rate_decay_steps`."""
    return hparams.learning_rate * ops.linear_decay(env_steps, hparams.learning_rate_decay_steps)


def default_optimizer(hparams: Any, env_steps: Array) -> optax.GradientTransformation:
    """Adam after a clip of the gradient's norm, from a learning rate, its decay, and the largest norm."""
    return adam(learning_rate_at(hparams, env_steps), hparams.max_grad_norm)


def clip_by_global_norm(max_norm: ArrayLike) -> optax.GradientTransformation:
    """`optax.clip_by_global_norm`, bit for bit."""

    def update(updates: PyTree, state: optax.EmptyState, params: PyTree = None) -> tuple[PyTree, optax.EmptyState]:
        del params
        norm = jnp.sqrt(jnp.maximum(optax.tree.norm(updates, squared=True), TINY))

        def clip(x: Array) -> Array:
            return jnp.where(norm < max_norm, x, x / norm.astype(x.dtype) * max_norm)

        return jax.tree.map(clip, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def scale_by_radam(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> optax.GradientTransformation:
    """`optax.scale_by_radam`, bit for bit (Liu et al. 2020, https://arxiv.org/abs/1908.03265).

    In the first steps, which use the mean of the gradients, optax's rectification is the root of a negative number. It
    is not selected, but its derivative is NaN.
    """
    rho_inf = 2 / (1 - b2) - 1

    def update(
        updates: PyTree, state: optax.ScaleByAdamState, params: PyTree = None
    ) -> tuple[PyTree, optax.ScaleByAdamState]:
        del params
        mu = optax.tree.update_moment(updates, state.mu, b1, 1)
        nu = optax.tree.update_moment_per_elem_norm(updates, state.nu, b2, 2)
        count = optax.safe_increment(state.count)
        b2_t = b2**count
        rho = rho_inf - 2 * count * b2_t / (1 - b2_t)
        rectified = rho >= 5.0
        rho = jnp.where(rectified, rho, 5.0)
        r = jnp.sqrt((rho - 4.0) * (rho - 2.0) * rho_inf / ((rho_inf - 4.0) * (rho_inf - 2.0) * rho))

        def scale(m: Array, v: Array) -> Array:
            return jnp.where(rectified, r.astype(m.dtype) * m / (jnp.sqrt(v + TINY) + eps), m)

        mu_hat, nu_hat = optax.tree.bias_correction(mu, b1, count), optax.tree.bias_correction(nu, b2, count)
        return jax.tree.map(scale, mu_hat, nu_hat), optax.ScaleByAdamState(count=count, mu=mu, nu=nu)

    return optax.GradientTransformation(optax.scale_by_radam(b1, b2, eps).init, update)


def nan_if_too_large(x: Array, grads: PyTree) -> Array:
    """Replaces a metric by NaN where the global norm of the gradients overflows float32, from about 2e19.

    `clip_by_global_norm` turns such gradients into zeros: nothing would be learned, and nothing would show it.
    """
    return jnp.where(jnp.isfinite(optax.tree.norm(grads, squared=True)), x, jnp.nan)  # XLA computes the norm once
