"""Agents and trainers that do not fit together are refused in one line, from shapes alone."""

import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest

import jaxrl
from jaxrl import Decision, Mean, a2c, dqn, make, off_policy, on_policy, ppo, pqn, q_learning, reinforce
from jaxrl.arguments import ArgumentError
from jaxrl.networks import QNetwork, actor_critic
from jaxrl.training.checks import check_env_states, init_agent
from jaxrl.types import Discrete
from tests.agents.probes import Aim

ENV = make("GridWorld", map="...\n..G")  # four actions
SHAPE = jax.ShapeDtypeStruct((2, 3, 3), bool)
OFF = jaxrl.OffPolicyConfig(num_envs=2, batch_size=4, replay_capacity=16, warmup_steps=4)
ON = jaxrl.OnPolicyConfig(num_envs=2, rollout_length=4)
FRESH = jaxrl.OnPolicyConfig(num_envs=2, rollout_length=4, reset_each_rollout=True)


def as_arrays(trainer, hparams):
    state = jax.eval_shape(trainer.init, jax.random.key(0), hparams)
    return jax.eval_shape(trainer.step, state)


class Hparams(NamedTuple):
    rate: float = 1


def own(actions: int = 4, **functions) -> jaxrl.Agent:
    """A custom agent with a table of action values."""

    def init(key, hparams, observation):
        return jnp.zeros(actions), hparams

    def outputs(state, observations):
        return jnp.broadcast_to(state[0], (len(observations), actions))

    def act(state, given, key, env_steps):
        return Decision(outputs(state, given.observation).argmax(-1))

    def update(state, batch, key, env_steps, constants):
        return state, {"loss": Mean(batch.reward.sum(), jnp.int32(1))}, ()

    def policy(state, given, key):
        return act(state, given, key, 0)

    return jaxrl.Agent(init, act, policy, update, outputs=outputs)._replace(**functions)


AGENTS: dict[str, Any] = {
    "dqn": lambda n: off_policy(dqn(QNetwork(n, (4,))), *ENV, OFF),
    "pqn": lambda n: on_policy(pqn(QNetwork(n, (4,))), *ENV, ON),
    "ppo": lambda n: on_policy(ppo(actor_critic(SHAPE, Discrete(n), (4,))), *ENV, ON),
    "reinforce": lambda n: on_policy(reinforce(actor_critic(SHAPE, Discrete(n), (4,))), *ENV, FRESH),
    "q_learning": lambda n: on_policy(q_learning(6, n, ENV[0].state_of), *ENV, ON),
    "own": lambda n: on_policy(own(n), *ENV, ON),
}
HPARAMS = {
    "dqn": jaxrl.DQNHparams(),
    "pqn": jaxrl.PQNHparams(),
    "ppo": jaxrl.PPOHparams(),
    "reinforce": jaxrl.ReinforceHparams(),
    "q_learning": jaxrl.QLearningHparams(),
}


@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_for_another_number_of_actions(name: str) -> None:
    for actions in (6, 1):
        with pytest.raises(ArgumentError, match=f"agent must give 4 values, one for each action.*, got {actions}"):
            jax.eval_shape(AGENTS[name](actions).init, jax.random.key(0), HPARAMS.get(name, ()))
    jax.eval_shape(AGENTS[name](4).init, jax.random.key(0), HPARAMS.get(name, ()))


@pytest.mark.parametrize("hparams", [(), {"rate": 1}, Hparams()])
def test_hyperparameters_of_ones_own_kind(hparams) -> None:
    state, _ = as_arrays(on_policy(own(), *ENV, ON), hparams)
    structure: Any = jax.tree.structure(hparams)
    assert jax.tree.structure(state.agent[1]) == structure


def test_what_agents_and_trainers_do_not_take() -> None:
    network, policy = QNetwork(4, (4,)), actor_critic(SHAPE, Discrete(4), (4,))
    for make_trainer, hparams, message in (
        (lambda: off_policy(ppo(policy), *ENV, OFF), jaxrl.PPOHparams(),
         "batch must be of the kind Transition, a rollout, as in jaxrl.on_policy, got Sample"),
        (lambda: off_policy(pqn(network), *ENV, OFF), jaxrl.PQNHparams(), "batch .*Transition.*, got Sample"),
        (lambda: off_policy(q_learning(6, 4, ENV[0].state_of), *ENV, OFF), jaxrl.QLearningHparams(),
         "batch .*Transition.*, got Sample"),
        (lambda: on_policy(dqn(network), *ENV, ON), jaxrl.DQNHparams(),
         "batch must be of the kind Sample, from a replay, as in jaxrl.off_policy, got Transition"),
        (lambda: off_policy(dqn(network), *ENV, OFF), jaxrl.PPOHparams(),
         "hparams must be of the kind DQNHparams, got PPOHparams"),
        (lambda: off_policy(dqn(network), *ENV, OFF), (), "hparams must be of the kind DQNHparams, got tuple"),
        (lambda: on_policy(pqn(network), *ENV, ON), jaxrl.DQNHparams(), "hparams .*PQNHparams, got DQNHparams"),
        (lambda: on_policy(a2c(policy), *ENV, ON), jaxrl.PPOHparams(), "hparams .*A2CHparams, got PPOHparams"),
        (lambda: on_policy(q_learning(6, 4, ENV[0].state_of), *ENV, ON), {}, "hparams .*QLearningHparams, got dict"),
        (lambda: off_policy(dqn(network), *ENV, ON), (), "config .*OffPolicyConfig, got OnPolicyConfig"),
        (lambda: on_policy(dqn(network), *ENV, OFF), (), "config .*OnPolicyConfig, got OffPolicyConfig"),
        (lambda: on_policy(dqn(network), *ENV, jaxrl.OnPolicyConfig), (),
         "config .*, got the class OnPolicyConfig itself"),
        (lambda: ppo(policy, ON), (), "config .*MinibatchConfig, got OnPolicyConfig"),
        (lambda: pqn(network, OFF), (), "config .*MinibatchConfig, got OffPolicyConfig"),
        (lambda: reinforce(policy, ON), (), "config .*ReinforceConfig, got OnPolicyConfig"),
        (lambda: dqn(network, "quantiles"), (), "values .*ActionValues, got str"),
        (lambda: dqn(QNetwork), (), r"network must be an instance, QNetwork\(\), got the class QNetwork itself"),
        (lambda: a2c(jnp.tanh), (), "network must have init and apply, .*from_nnx"),
        (lambda: on_policy(network, *ENV, ON), (), "agent must have a function act, as jaxrl.Agent has, got QNetwork"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=message):
            as_arrays(make_trainer(), hparams)


def test_what_an_update_must_return() -> None:
    for results, message in (
        (lambda state: (state, {}), r"agent must return \(agent_state, metrics, errors\) from update, got 2 values"),
        (lambda state: state[0], r"agent must return \(agent_state, metrics, errors\) from update, got \w*Tracer"),
        (lambda state: (state, {"loss": state[0].sum()}, ()), r"agent must return each metric as a jaxrl.Mean.*'loss'"),
        (lambda state: (state, Mean(0.0, 1), ()), "agent must return metrics as a dict, got Mean"),
        *((lambda state, name=name: (state, {name: Mean(state[0].sum(), 1)}, ()),
           rf"agent must name each metric by a text without commas, .*, got {re.escape(repr(name))}")
          for name in ("p(a, b)", 'a "loss"', "two\nlines", "tab\t", "", 3)),
        *((lambda state, name=name: (state, {name: Mean(state[0].sum(), 1)}, ()),
           rf"agent must not name a metric as one of seed, .*, got '{name}'")
          for name in ("env_steps", "wall_seconds", "agent", "episode_return")),
        (lambda state: (state, {"loss": Mean(state[0], 1)}, ()),
         r"agent must return each metric as a mean of single numbers, got the shape \(4,\) for 'loss'"),
    ):  # fmt: skip
        agent = own(update=lambda state, batch, key, env_steps, constants, results=results: results(state))
        for trainer in (on_policy(agent, *ENV, ON), off_policy(agent, *ENV, OFF)):
            with pytest.raises(ArgumentError, match=message):
                as_arrays(trainer, ())


def test_outputs_count_for_discrete_actions_only() -> None:
    def act(state, given, key, env_steps=0):
        return Decision(jnp.zeros((len(given.observation), 1)))

    agent = own(act=act, policy=act)
    jax.eval_shape(on_policy(agent, Aim(), None, ON).init, jax.random.key(0), ())


def remembering(policy) -> jaxrl.Agent:
    """An agent with a memory, [N], that acts as it should."""

    def act(state, given, key, env_steps):
        return Decision(jnp.zeros(len(given.observation), jnp.int32), given.memory + 1)

    return own(act=act, policy=policy, memory=lambda state, num_envs: jnp.zeros(num_envs))


def test_a_policy_is_checked_before_training() -> None:
    """And not only when it is evaluated, at the end."""
    action = jnp.zeros(2, jnp.int32)
    for decision, message in (
        (lambda memory: action, "must return a jaxrl.Decision from policy, got an array"),
        (lambda memory: None, "must return a jaxrl.Decision from policy, got NoneType"),
        (lambda memory: Decision(jnp.zeros(2), memory), r"must act with int\[2\] in policy, .*, got float32\[2\]"),
        (lambda memory: Decision(action[:1], memory), r"must act with int\[2\] in policy, .*, got int32\[1\]"),
        (lambda memory: Decision(3, memory), r"must act with int\[2\] in policy, .*, got int32\[\]"),
        (lambda memory: Decision(action), r"must keep the shapes of its memory in policy, \('float32', 2\), got \(\)"),
        (lambda memory: Decision(action, memory > 0), r"must keep the .* in policy, .*, got \('bool', 2\)"),
    ):
        agent = remembering(lambda state, given, key, decision=decision: decision(given.memory))
        for trainer in (on_policy(agent, *ENV, ON), off_policy(agent, *ENV, OFF)):
            with pytest.raises(ArgumentError, match=f"^agent {message}"):
                jax.eval_shape(trainer.init, jax.random.key(0), ())
    jax.eval_shape(
        on_policy(remembering(lambda state, given, key: Decision(action, given.memory)), *ENV, ON).init,
        jax.random.key(0),
        (),
    )


def test_states_that_are_not_shown() -> None:
    envs, agent = jaxrl.vectorize(*ENV, 2), own(needs_env_states=True)
    state = envs.reset(jax.random.key(0))
    check_env_states(agent, state)
    check_env_states(own(), state._replace(env_states=()))
    with pytest.raises(ArgumentError, match=r"^agent must act without the .*, got one with needs_env_states$"):
        init_agent(agent, jax.random.key(0), (), envs, state._replace(env_states=()), Discrete(4))
