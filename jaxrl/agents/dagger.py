"""DAgger (Ross et al. 2011, https://arxiv.org/abs/1011.0686): imitation in the states that the learner visits.

The learner acts, at times in place of the expert, and the expert says in every state what it would do there. The
learner imitates all that the expert has said so far (algorithm 3.1):

    π_i = β_i π* + (1 − β_i) π̂_i   visits states s,
    D ← D ∪ {(s, π*(s))},   π̂_{i+1} = argmax_θ E[log π_θ(a | s)]   over (s, a) in D.

So it learns what to do where its own mistakes lead. An error rate ε per step costs O(u ε T) of the return of T steps,
if the expert makes good a mistake at a cost of at most u (theorem 3.2). Behaviour cloning may lose O(ε T²) even then.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
from annotated_types import Ge, Interval

from jaxrl import ops
from jaxrl.agents.behaviour_cloning import BehaviourCloningHparams, behaviour_cloning
from jaxrl.agents.optimizers import Optimizer, default_optimizer
from jaxrl.agents.policy_gradient import NetworkState, Updated
from jaxrl.arguments import ArgumentError, check_kind
from jaxrl.networks.network import Network
from jaxrl.types import Agent, Array, Decision, Input, Mean, PyTree, Sample
from jaxrl.xla.threefry import inline


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DAggerHparams(BehaviourCloningHparams):
    """Hyperparameters of DAgger."""

    learning_rate_decay_steps: Annotated[float, Ge(0)] = 0.0
    """Environment steps over which the learning rate decays linearly to zero; 0 keeps it constant."""
    beta_start: Annotated[float, Interval(ge=0, le=1)] = 1.0
    """Initial β, the probability that the expert acts in place of the learner, in each step; in [0, 1]."""
    beta_end: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """Final β, in [0, 1]."""
    beta_decay_steps: Annotated[float, Ge(0)] = 10_000
    """Environment steps over which β goes linearly from beta-start to beta-end."""


def beta_at(hparams: DAggerHparams, env_steps: Array) -> Array:
    """β after so many environment steps."""
    return ops.linear_annealing(env_steps, hparams.beta_start, hparams.beta_end, hparams.beta_decay_steps)


def dagger(
    network: Network, expert: Agent, expert_state: PyTree, optimizer: Optimizer = default_optimizer
) -> Agent[NetworkState]:
    """DAgger with any network and any expert.

        expert = jaxrl.load("runs/pqn_minatar/20261122-101500")
        agent = jaxrl.dagger(network, expert.agent, expert.agent_state)

    Args:
        network: of the learner, as in `jaxrl.behaviour_cloning`.
        expert: whose `policy` labels the states, with legal actions and the states of the environments.
        expert_state: its state, which is a constant of training: it is not saved, and the agents of a population share
            it. Of `jax.ShapeDtypeStruct`s, the agent can only be traced in training, as to load a trained learner.
        optimizer: of the learner's parameters; by default, Adam after a clip of the gradient's norm.

    Returns:
        An agent for `jaxrl.off_policy`, with hyperparameters `DAggerHparams`. In each step and environment the expert
        acts with probability β, and else the learner, who samples from its policy. The transitions' extras are what
        the expert would do, `[N]` or `[N, D]`. The replay buffer is D: its capacity bounds how many labels the learner
        remembers. Metrics are those of behaviour cloning, and `beta`.

    Raises:
        ArgumentError: not a network, or the expert has a memory; from `init`, other outputs or hyperparameters; from
            `act`, the expert has actions of another kind than the learner; from `update`, not a sample.
    """
    cloning = behaviour_cloning(network, optimizer)
    if jax.tree.leaves(jax.eval_shape(lambda state: expert.memory(state, 1), expert_state)):
        raise ArgumentError("expert", "must have no memory", None, got="an agent with one")

    def init(key: Array, hparams: DAggerHparams, observation: PyTree) -> NetworkState:
        check_kind("hparams", hparams, DAggerHparams)
        return cloning.init(key, hparams, observation)

    def act(state: NetworkState, given: Input, key: Array, env_steps: Array) -> Decision:
        expert_key, learner_key, beta_key = jax.random.split(inline(key), 3)
        if jax.tree.map(jnp.shape, given.constants) != jax.tree.map(jnp.shape, expert_state):
            rule = "must be the state of the expert, as Trainer.constants are"
            raise ArgumentError("constants", rule, got=type(given.constants).__name__)
        label = expert.policy(given.constants, given._replace(constants=()), expert_key).action
        action = cloning.act(state, given, learner_key, env_steps).action
        label = _as_action(label, action)
        drawn = jax.random.uniform(beta_key, (len(label), *(1,) * (label.ndim - 1)), jnp.float32)
        by_expert = drawn < beta_at(state.hparams, env_steps)
        return Decision(jnp.where(by_expert, label, action), extras=label)

    def update(state: NetworkState, batch: Sample, key: Array, env_steps: Array, constants: PyTree = ()) -> Updated:
        del constants
        check_kind("batch", batch, Sample, ", as in jaxrl.off_policy")
        labelled = batch.transitions._replace(action=batch.transitions.extras)
        learned, metrics, errors = cloning.update(state, batch._replace(transitions=labelled), key, env_steps)
        return learned, metrics | {"beta": Mean.of(beta_at(state.hparams, env_steps))}, errors

    needs_env_states = expert.needs_env_states
    return cloning._replace(
        init=init, act=act, update=update, constants=expert_state, needs_env_states=needs_env_states
    )


def _as_action(label: Array, action: Array) -> Array:
    """The expert's action with the dtype of the learner's, whose kind and shape it must have."""
    if label.shape != action.shape or (label.dtype.kind in "iu") != (action.dtype.kind in "iu"):
        here, there = (f"{x.dtype}{list(x.shape)}" for x in (action, label))
        raise ArgumentError("expert", f"must act with {here}, as the learner", label, got=there)
    return label.astype(action.dtype)
