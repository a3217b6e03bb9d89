"""The best agents of a run so far, by their evaluations while training."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.training.checkpoint import Checkpoints
from jaxrl.types import PyTree, select_rows


@dataclasses.dataclass
class Best:
    """Keeps each agent as it was at its best evaluation.

    An evaluation is a sample, and the best of many is partly luck: evaluate the kept agents anew to know their worth.

    Attributes:
        checkpoints: where the states of the agents are kept, `[A, ...]`, with their returns and steps as info.
        agents: these states; None before the first evaluation.
        returns: their mean returns at that evaluation, `[A]`.
        steps: after how many steps it was, `[A]`.
    """

    checkpoints: Checkpoints
    agents: PyTree = None
    returns: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))
    steps: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))

    def restore(self, agents: PyTree) -> None:
        """Reads what was kept before, if anything was; `agents` `[A, ...]` have its shapes and devices."""
        if self.checkpoints.steps():
            shapes = jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=getattr(x, "sharding", None)), agents
            )
            self.agents, info, _ = self.checkpoints.restore(shapes)
            self.returns, self.steps = np.array(info["returns"]), np.array(info["steps"], np.int64)

    def offer(self, agents: PyTree, returns: np.ndarray, steps: int) -> None:
        """Keeps the agents that are better than before.

        Args:
            agents: the states of the agents, `[A, ...]`.
            returns: their mean returns, `[A]`.
            steps: after how many steps they are as they are.

        Raises:
            CheckpointError: they could not be written.
        """
        if self.agents is None:
            self.agents = jax.tree.map(jnp.copy, agents)  # the run's own arrays are used up by its next call
            self.returns = np.full(len(returns), -np.inf)
            self.steps = np.zeros(len(returns), np.int64)
        better = returns > self.returns
        if not better.any():
            return
        self.agents = select_rows(better, agents, self.agents)
        self.returns, self.steps = np.where(better, returns, self.returns), np.where(better, steps, self.steps)
        info = {"returns": self.returns.tolist(), "steps": self.steps.tolist()}
        self.checkpoints.save(steps, self.agents, info)
