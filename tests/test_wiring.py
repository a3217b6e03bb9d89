"""How the parts are wired: no key is used twice, all clocks are exact, and agents do what keys and clocks are for.

Three iterations of every trainer, an evaluation and a rollout, all tiny and not compiled.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import Agent, Input, RainbowHparams, Sample, Transition, evaluate, rollout, vectorize
from jaxrl.agents import (
    DQNHparams,
    DynaConfig,
    PETSConfig,
    PETSHparams,
    PQNHparams,
    TD3Hparams,
    dqn,
    dyna,
    pets,
    pqn,
    sac,
    td3,
)
from jaxrl.agents.league import league
from jaxrl.agents.self_play_ppo import SelfPlayHparams
from jaxrl.networks import Critic, DeterministicPolicy, NoisyDense, QNetwork, SquashedPolicy
from jaxrl.recipes.exact_games import SelfPlay, build_self_play
from jaxrl.recipes.learned_dynamics import MBPOHparams
from jaxrl.training import (
    OffPolicyConfig,
    OnPolicyConfig,
    Program,
    as_arrays,
    off_policy,
    on_policy,
    population,
    repeat,
)
from jaxrl.training.devices import mesh_of
from jaxrl.training.evaluation import evaluate_agents
from jaxrl.training.from_rules import from_rules
from jaxrl.types import Box, Trainer
from tests.agents import test_actor_critics, test_board_league, test_league, test_nfsp, test_pqn
from tests.compiling import quick_jit
from tests.instruments import Log, SpyEnv, SpyGymnax, SpyNetwork, spy_agent, watching
from tests.mutants import planted

N, T, UPDATES, BATCH, ITERATIONS = 2, 3, 2, 4, 3
N_STEP = {"uniform": 1, "prioritised": 2}
WARMUP = {replay: BATCH // N + n_step - 1 for replay, n_step in N_STEP.items()}
"""Steps of every environment before a batch can be drawn."""
BETA_STEPS = 100.0
SPACE = Box(np.float32([-1]), np.float32([1]))
HPARAMS = RainbowHparams(
    priority_exponent=1.0,
    importance_exponent_start=0.0,
    importance_exponent_end=1.0,
    importance_exponent_steps=BETA_STEPS,
)


def off_policy_trainer(agent, env, replay: str):
    config = OffPolicyConfig(
        num_envs=N, rollout_length=T, updates_per_iteration=UPDATES, batch_size=BATCH, replay_capacity=10 * N,
        warmup_steps=1, n_step=N_STEP[replay], replay=replay,
    )  # fmt: skip
    return off_policy(agent, env, (), config)


def on_policy_trainer(agent, env, reset_each_rollout: bool):
    return on_policy(
        agent, env, (), OnPolicyConfig(num_envs=N, rollout_length=T, reset_each_rollout=reset_each_rollout)
    )


def train(trainer, hparams, key=None):
    """The state after three iterations."""
    state = trainer.init(jax.random.key(0) if key is None else key, hparams)
    for _ in range(ITERATIONS):
        state, _ = trainer.step(state)
    return state


def check_counts(log: Log, acts: int, updates: int, agents: int = 1) -> None:
    """How often each of the agents was called."""
    counts = {user: log.count(user) / agents for user in ("init", "act", "update")}
    assert counts == {"init": 1, "act": acts, "update": updates}


@pytest.mark.parametrize(
    ("environment", "replay"), [(SpyEnv, "uniform"), (SpyEnv, "prioritised"), (SpyGymnax, "uniform")]
)
def test_off_policy(environment, replay: str) -> None:
    with watching() as log:
        train(off_policy_trainer(spy_agent(log), environment(log), replay), HPARAMS)
    log.check()
    rows = WARMUP[replay] + ITERATIONS * T
    check_counts(log, acts=rows, updates=ITERATIONS * UPDATES)
    assert log.clocks["act"] == [N * row for row in range(rows)]
    learning = np.repeat(N * np.arange(WARMUP[replay] + T, rows + 1, T), UPDATES)
    np.testing.assert_array_equal(log.clocks["update"], learning)
    smallest = np.array(log.clocks["smallest weight"])
    if replay == "uniform":
        np.testing.assert_array_equal(smallest, 1)
    else:  # (1 / 2)^β where both priorities are in the batch
        mixed = smallest < 1
        assert len(set(learning[mixed])) > 1
        np.testing.assert_allclose(-np.log2(smallest[mixed]), learning[mixed] / BETA_STEPS, rtol=1e-5)


@pytest.mark.parametrize("reset_each_rollout", [False, True])
@pytest.mark.parametrize("environment", [SpyEnv, SpyGymnax])
def test_on_policy(environment, reset_each_rollout: bool) -> None:
    with watching() as log:
        train(on_policy_trainer(spy_agent(log), environment(log), reset_each_rollout), HPARAMS)
    log.check()
    check_counts(log, acts=ITERATIONS * T, updates=ITERATIONS)
    clock = [N * T * iteration for iteration in range(ITERATIONS)]
    assert log.clocks["update"] == clock
    assert log.clocks["act"] == np.repeat(clock, T).tolist()


def test_an_agents_draws() -> None:
    """The noise and the action of acting; the noise of the target, of the selector and of the network that learns."""
    agent, observations = dqn(SpyNetwork(), double=True), jnp.zeros((N, 1))
    ends = jnp.zeros((1, N), bool)
    steps = Transition(observations[None], jnp.zeros((1, N), int), jnp.ones((1, N)), ends, ends, observations[None])
    with watching() as log:
        keys = jax.random.split(jax.random.key(0), 4)
        state = quick_jit(agent.init)(keys[0], HPARAMS, observations[0])
        agent.act(state, Input(observations), keys[1], jnp.float32(0))
        agent.policy(state, Input(observations), keys[2])
        agent.update(state, Sample(steps, jnp.ones(N)), keys[3], jnp.float32(0))
    log.check()
    assert log.count("SpyNetwork.apply") == 4


@pytest.mark.parametrize("kind", ["td3", *(pytest.param(x, marks=pytest.mark.slow) for x in ("mbpo", "pets"))])
def test_the_draws_of_agents_with_continuous_actions(kind: str) -> None:
    """In acting, at first at random, in evaluation, in learning, and in all that a model imagines. MBPO is of SAC."""
    observations, critic = jnp.zeros((N, 1)), Critic(SPACE, ())
    example, sizes = jax.ShapeDtypeStruct((1,), jnp.float32), DynaConfig(2, (2,))
    agents: dict[str, tuple[Agent, Any]] = {
        "td3": (td3(DeterministicPolicy(SPACE, ()), critic, SPACE), TD3Hparams()),
        "mbpo": (dyna(sac(SquashedPolicy(SPACE, ()), critic, SPACE), example, SPACE, sizes), MBPOHparams()),
        "pets": (pets(example, SPACE, PETSConfig(2, (2,), 2, 2, 2, 1)), PETSHparams()),
    }
    (agent, hparams), ends, weights = agents[kind], jnp.zeros((1, N), bool), jnp.ones((1, N, 2), jnp.int8)
    steps = Transition(
        observations[None], jnp.zeros((1, N, 1)), jnp.ones((1, N)), ends, ends, observations[None],
        extras=weights if kind in ("mbpo", "pets") else (),
    )  # fmt: skip

    def use(key: Any) -> Any:
        keys = jax.random.split(key, 5)
        state = agent.init(keys[0], as_arrays(hparams), observations[0])
        given = Input(observations, memory=agent.memory(state, N))
        acts = [agent.act(state, given, keys[i], jnp.float32(clock)) for i, clock in ((1, 0.0), (2, 1e6))]
        update = agent.update(state, Sample(steps, jnp.ones(N)), keys[3], jnp.float32(1e6))
        return acts, agent.policy(state, given, keys[4]), update

    with watching(compiled=True) as log:
        quick_jit(use)(jax.random.key(0))
    log.check()


def player_of(kind: str) -> tuple[Trainer, Any]:
    """A trainer of players, and hyperparameters."""
    of: Any
    if kind == "nfsp":
        return test_nfsp.TRAINER, test_nfsp.HPARAMS
    if kind == "board league":
        of = test_board_league
        config = OnPolicyConfig(of.NUM_ENVS, of.LONGEST, reset_each_rollout=True)
        return on_policy(of.AGENT, of.ENV, of.PARAMS, config), of.HPARAMS
    if kind == "league":
        of = test_league
        return from_rules(league(of.GAME, of.NETWORK, of.CONFIG), jnp.int32(0), 12), of.HPARAMS
    return build_self_play(test_nfsp.ENV, test_nfsp.PARAMS, SelfPlay(num_games=4))[1], SelfPlayHparams()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nfsp", "self-play", "league", "board league"])
def test_the_draws_of_players(kind: str) -> None:
    """And of their trainers, in two iterations."""
    with watching(compiled=True) as log:
        trainer, hparams = player_of(kind)
        train = lambda key: trainer.step(trainer.step(trainer.init(key, hparams))[0])  # noqa: E731
        quick_jit(train)(jax.random.key(0))
    log.check()
    assert len(log.uses) > 5


def test_every_noisy_layer_has_noise_of_its_own() -> None:
    network = QNetwork(2, (2,), dueling=True, dense=NoisyDense)
    with watching(compiled=True) as log:
        shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((N, 1)))
        params = jax.tree.map(lambda x: jnp.zeros(x.shape), shapes)
        quick_jit(lambda key: network.apply(params, jnp.zeros((N, 1)), rngs={"noise": key}))(jax.random.key(0))
    log.check()
    assert log.count("NoisyDense.__call__") == 4


@pytest.mark.parametrize("environment", [SpyEnv, SpyGymnax])
def test_evaluation(environment) -> None:
    with watching() as log:
        policy = partial(spy_agent(log).policy, ())
        evaluate(policy, vectorize(environment(log), (), N), jax.random.key(0), max_steps=5)
    log.check()
    assert log.count("policy") == 3  # the length of an episode


@pytest.mark.parametrize("environment", [SpyEnv, SpyGymnax])
def test_rollout(environment) -> None:
    with watching() as log:
        rollout(environment(log), partial(spy_agent(log).policy, ()), jax.random.key(0), 5, N)
    log.check()
    assert log.count("policy") == 5
    assert len(log.words) == (6 * SpyEnv.random_words * N if environment is SpyEnv else 0)


@pytest.mark.slow
def test_population() -> None:
    """Each agent's keys differ from the other's, where they go side by side."""
    with watching(compiled=True) as log:
        trainer = population(on_policy_trainer(spy_agent(log), SpyEnv(log), reset_each_rollout=True))
        quick_jit(lambda keys: train(trainer, repeat(HPARAMS, 2), keys))(jax.random.split(jax.random.key(0)))
    log.check()
    check_counts(log, agents=2, acts=ITERATIONS * T, updates=ITERATIONS)


def test_program() -> None:
    """Each agent's keys differ from the others', where there are so many that they take turns."""
    keys, hparams = jax.random.split(jax.random.key(0), 4), repeat(HPARAMS, 4)
    with watching(compiled=True) as log:
        program = Program(off_policy_trainer(spy_agent(log), SpyEnv(log), "uniform"), keys, hparams)
        program.compiled()(program.init(keys, hparams), ITERATIONS)
    log.check()
    check_counts(log, agents=4, acts=WARMUP["uniform"] + ITERATIONS * T, updates=ITERATIONS * UPDATES)


def test_evaluation_of_agents() -> None:
    with watching(compiled=True) as log:
        play = evaluate_agents(spy_agent(log), vectorize(SpyEnv(log), (), N), max_steps=2)
        play((), jax.random.split(jax.random.key(0)), mesh_of(None, (2,)))
    log.check()
    assert log.count("policy") == 2 * 2


class Greedy:
    """A network that prefers action 1."""

    def init(self, key, observations):
        return jnp.float32([0, 1])

    def apply(self, params, observations, *, rngs=None):
        return jnp.broadcast_to(params, (len(observations), 2))


@pytest.mark.parametrize(("agent", "record"), [(dqn, DQNHparams), (pqn, PQNHparams)])
@watching()
def test_exploration(agent, record) -> None:
    """ε falls with the clock, and evaluation has its own; half of the random actions are not greedy."""
    agent, observations = agent(Greedy()), jnp.zeros((4000, 1))

    def share(epsilon_eval=0.0, env_steps=None) -> float:
        """Of actions that are not greedy."""
        hparams = record(epsilon_start=0.8, epsilon_end=0.2, epsilon_decay_steps=100, epsilon_eval=epsilon_eval)
        state, key = quick_jit(agent.init)(jax.random.key(0), hparams, observations[0]), jax.random.key(1)
        policy = agent.policy(state, Input(observations), key)
        decision = policy if env_steps is None else agent.act(state, Input(observations), key, jnp.float32(env_steps))
        return float((decision.action == 0).mean())

    assert [share(env_steps=t) for t in (0, 50, 100, 1000)] == pytest.approx([0.4, 0.25, 0.1, 0.1], abs=0.03)
    assert [share(epsilon_eval=x) for x in (0, 0.6, 1)] == pytest.approx([0, 0.3, 0.5], abs=0.03)


@watching()
def test_a_noisy_network_explores_by_its_noise() -> None:
    """At ε = 0; and in evaluation it has none."""
    agent, observations = dqn(SpyNetwork()), jnp.zeros((N, 1))
    hparams = DQNHparams(epsilon_start=0.0, epsilon_end=0.0, epsilon_eval=0.0)
    state = quick_jit(agent.init)(jax.random.key(0), hparams, observations[0])
    keys = jax.random.split(jax.random.key(1), 10)
    acting = {int(agent.act(state, Input(observations), key, jnp.float32(0)).action[0]) for key in keys}
    evaluating = {int(agent.policy(state, Input(observations), key).action[0]) for key in keys}
    assert (acting, len(evaluating)) == ({0, 1}, 1)


MUTANTS = [
    (
        partial(test_off_policy, SpyEnv, "uniform"),
        "jaxrl.training.collect:collect",
        [("acts and steps with one key", "initial_memory, env_key", "initial_memory, act_key")],
    ),
    (
        partial(test_off_policy, SpyEnv, "uniform"),
        "jaxrl.training.off_policy:_env_steps",
        [
            ("acting counts one environment's steps", " * parts.config.num_envs", ""),
            ("acting counts the step to come", "(rows_written + jnp.arange", "(rows_written + 1 + jnp.arange"),
            ("acting counts whole rollouts", "(rows_written + jnp.arange", "(rows_written + 0 * jnp.arange"),
        ],
    ),
    (
        partial(test_off_policy, SpyEnv, "uniform"),
        "jaxrl.training.learn:learn",
        [
            ("samples and updates with one key", "sampler, sample_key", "sampler, update_key"),
            ("updates and samples with one key", "(update_key), env_steps", "(sample_key), env_steps"),
        ],
    ),
    (
        partial(test_off_policy, SpyEnv, "uniform"),
        "jaxrl.training.off_policy:_learn",
        [
            ("learning counts one environment's steps", " * config.num_envs", ""),
            ("learning counts from before the rollout", "rows += config.rollout_length", ""),
        ],
    ),
    (
        partial(test_off_policy, SpyEnv, "uniform"),
        "jaxrl.training.off_policy:_split",
        [
            (
                "warms up and trains with the same keys",
                "warmup_key, run_key)",
                "jax.random.fold_in(run_key, 0), run_key)",
            ),
            ("warms up and trains with one key", "warmup_key, run_key)", "run_key, run_key)"),
            ("warms up and resets with one key", "return env_key", "return warmup_key"),
            (
                "makes the agent and resets with one key",
                "(agent_key, warmup_key, run_key)",
                "(env_key, warmup_key, run_key)",
            ),
        ],
    ),
    (
        partial(test_off_policy, SpyEnv, "uniform"),
        "jaxrl.training.off_policy:_start",
        [("warms up with one key", "(parts.warmup_rows, 2))", "(1, 2))[jnp.zeros(parts.warmup_rows, int)]")],
    ),
    (
        partial(test_off_policy, SpyEnv, "uniform"),
        "jaxrl.training.off_policy:_plan",
        [
            ("the same key in every iteration", "jax.random.fold_in(state.key, state.iteration)", "state.key"),
            ("the same key in every step", "[: config.rollout_length],", "[jnp.zeros(config.rollout_length, int)],"),
            (
                "the same key in every update",
                "keys[config.rollout_length :]",
                "keys[jnp.full(config.updates_per_iteration, -1)]",
            ),
            (
                "acts and updates with the same keys",
                "keys[config.rollout_length :]",
                "keys[: config.updates_per_iteration]",
            ),
        ],
    ),
    (
        partial(test_off_policy, SpyEnv, "uniform"),
        "jaxrl.training.off_policy:_rows_written",
        [
            ("the clock leaves out the warm-up", "parts.warmup_rows + state", "state"),
            (
                "the clock takes an iteration for a step",
                "state.iteration * parts.config.rollout_length",
                "state.iteration",
            ),
        ],
    ),
    (
        partial(test_off_policy, SpyEnv, "prioritised"),
        "jaxrl.training.learn:learn",
        [("samples by priority and updates with one key", "sampler, sample_key", "sampler, update_key")],
    ),
    (
        partial(test_off_policy, SpyEnv, "prioritised"),
        "jaxrl.training.off_policy:_learn",
        [("β is of the next step", "key, rows, ", "key, rows + 1, ")],
    ),
    (
        partial(test_off_policy, SpyEnv, "prioritised"),
        "jaxrl.replay.sampling:prioritised",
        [("β counts one environment's steps", "rows_written.astype(jnp.float32) * num_envs", "rows_written")],
    ),
    (
        partial(test_on_policy, SpyEnv, True),
        "jaxrl.training.collect:collect",
        [("acts and steps with one key", "initial_memory, env_key", "initial_memory, act_key")],
    ),
    (
        partial(test_on_policy, SpyEnv, True),
        "jaxrl.training.on_policy:_split",
        [
            ("trains and resets with one key", "agent_key, run_key)", "agent_key, env_key)"),
            ("makes the agent and resets with one key", "(agent_key, run_key)", "(env_key, run_key)"),
        ],
    ),
    (
        partial(test_on_policy, SpyEnv, True),
        "jaxrl.training.on_policy:_plan",
        [
            ("the same key in every iteration", "jax.random.fold_in(state.key, state.iteration)", "state.key"),
            (
                "the same key in every step",
                "(config.rollout_length, 2))",
                "(1, 2))[jnp.zeros(config.rollout_length, int)]",
            ),
            ("updates and resets with one key", "None, update_key)", "None, reset_key)"),
            ("updates and acts with one key", "None, update_key)", "None, keys[0, 0])"),
            ("resets and steps with one key", "reset_key if", "jax.random.split(rollout_key, (1, 2))[0, 1] if"),
        ],
    ),
    (
        partial(test_on_policy, SpyEnv, True),
        "jaxrl.training.on_policy:_env_steps",
        [
            (
                "the clock counts one environment's steps",
                "(parts.config.num_envs * parts.config.rollout_length)",
                "parts.config.rollout_length",
            ),
            (
                "the clock counts one step of each rollout",
                "(parts.config.num_envs * parts.config.rollout_length)",
                "parts.config.num_envs",
            ),
            ("the clock counts the rollout to come", "state.iteration.astype", "(1 + state.iteration).astype"),
        ],
    ),
    (
        partial(test_on_policy, SpyEnv, True),
        "jaxrl.training.on_policy:_learn",
        [
            (
                "learning counts its rollout",
                "_env_steps(parts, state), constants",
                "_env_steps(parts, state) + 6, constants",
            )
        ],
    ),
    (
        partial(test_evaluation, SpyEnv),
        "jaxrl.training.evaluation:evaluate",
        [
            ("the same keys in every step", "jax.random.fold_in(play_key, t)", "play_key"),
            ("acts and steps with one key", "memory, env_key", "memory, act_key"),
            ("plays and resets with one key", "(reset_key)", "(play_key)"),
        ],
    ),
    (
        partial(test_rollout, SpyEnv),
        "jaxrl.envs.rollout:rollout",
        [
            ("the same keys in every step", "jax.random.fold_in(play_key, t)", "play_key"),
            ("acts and steps with one key", "memory, env_key", "memory, act_key"),
            ("plays and resets with one key", "(reset_key)", "(play_key)"),
        ],
    ),
    (
        partial(test_rollout, SpyEnv),
        "jaxrl.envs.vector:_own",
        [
            ("the same words in every step", "actions, draw(key)", "actions, draw(jax.random.key(0))"),
            ("one word for all that happens in an environment", "(env.random_words, ", "(1, "),
        ],
    ),
    (
        partial(test_rollout, SpyGymnax),
        "jaxrl.envs.vector:_gymnax",
        [
            (
                "all environments reset with one key",
                "as_keys(key), num_envs)",
                "as_keys(key), num_envs)[jnp.zeros(num_envs, int)]",
            ),
            (
                "all environments step with one key",
                "inline(key), num_envs)",
                "inline(key), num_envs)[jnp.zeros(num_envs, int)]",
            ),
        ],
    ),
    (
        test_an_agents_draws,
        "jaxrl.agents.dqn:dqn",
        [
            ("target and learning network with one noise", '{"noise": target_key}', '{"noise": online_key}'),
            ("target and selector with one noise", '{"noise": selector_key}', '{"noise": target_key}'),
            ("selector and learning network with one noise", '{"noise": selector_key}', '{"noise": online_key}'),
            ("no noise in the target", ', rngs={"noise": target_key}', ""),
            ("learns without noise", ', rngs={"noise": online_key}', ""),
        ],
    ),
    (
        test_an_agents_draws,
        "jaxrl.agents.value_based:epsilon_greedy_agent",
        [("noise and action of one key", "sample(action_key)", "sample(noise_key)")],
    ),
    (
        test_every_noisy_layer_has_noise_of_its_own,
        "jaxrl.networks.layers:NoisyDense.__call__",
        [("one noise for all layers", 'self.make_rng("noise")', 'self.scope.rngs["noise"].rng')],
    ),
    (
        test_a_noisy_network_explores_by_its_noise,
        "jaxrl.agents.value_based:epsilon_greedy_agent",
        [
            ("acts without noise", 'options["rngs"] = {"noise": noise_key}', ""),
            (
                "evaluates with noise",
                "q_values(state, given.observation)",
                'q_values(state, given.observation, {"noise": key})',
            ),
        ],
    ),
    (
        partial(test_exploration, dqn, DQNHparams),
        "jaxrl.agents.value_based:epsilon_greedy_agent",
        [
            ("explores for ever", "epsilon(state.hparams, env_steps)", "1.0"),
            ("evaluates greedily", "state.hparams.epsilon_eval", "0.0"),
            ("evaluates as it acts in the end", "state.hparams.epsilon_eval", "state.hparams.epsilon_end"),
        ],
    ),
    (
        partial(test_exploration, pqn, PQNHparams),
        "jaxrl.agents.value_based:epsilon_greedy_agent",
        [
            ("explores for ever", "epsilon(state.hparams, env_steps)", "1.0"),
            ("evaluates greedily", "state.hparams.epsilon_eval", "0.0"),
        ],
    ),
    (
        test_pqn.test_every_epoch_learns_from_each_transition_once_in_another_order,
        "jaxrl.agents.minibatches:learn_in_minibatches",
        [("the same order in every epoch", "shuffle(key, size)", "shuffle(jax.random.key(0), size)")],
    ),
    (
        test_pqn.test_the_step_size_falls_linearly_to_zero,
        "jaxrl.agents.optimizers:learning_rate_at",
        [("the step size stays", "ops.linear_decay(env_steps, ", "ops.linear_decay(0.0, ")],
    ),
    (
        test_actor_critics.test_ppo_begins_at_a_ratio_of_one_and_then_clips,
        "jaxrl.agents.ppo:ppo_loss",
        [("another estimate of the KL divergence", "ratio - 1 - log_ratio", "-log_ratio")],
    ),
    (
        test_population,
        "jaxrl.training.population:population",
        [("all agents have one key", "vmap(trainer.init", "vmap(lambda _, *x: trainer.init(jax.random.key(0), *x)")],
    ),
    (
        test_program,
        "jaxrl.training.program:Program._init_agents",
        [("all agents have one key", "(keys, hparams),", "(jnp.broadcast_to(keys[0], keys.shape), hparams),")],
    ),
    (
        test_program,
        "jaxrl.training.population:_map_one_by_one",
        [("always the same agent's turn", "dynamic_index_in_dim(x, i,", "dynamic_index_in_dim(x, 0,")],
    ),
    (
        test_evaluation_of_agents,
        "jaxrl.training.evaluation:for_each_agent",
        [("all agents have one key", "(agent_states, key_data),", "(agent_states, 0 * key_data),")],
    ),
]
"""Errors of a function, each as what is in its source and what would be there instead, under a test that sees them."""

SLOW = (
    test_actor_critics.test_ppo_begins_at_a_ratio_of_one_and_then_clips,
    test_evaluation_of_agents,
    test_population,
    test_pqn.test_the_step_size_falls_linearly_to_zero,
    test_program,
)
"""Those that compile, which takes seconds for each error."""


@pytest.mark.parametrize(
    ("check", "function", "old", "new"),
    [
        pytest.param(
            check,
            function,
            old,
            new,
            id=f"{function.rsplit(':')[-1]}: {error}",
            marks=[pytest.mark.slow] if check in SLOW else [],
        )
        for check, function, errors in MUTANTS
        for error, old, new in errors
    ],
)
def test_an_error_is_seen(check: Callable[[], None], function: str, old: str, new: str) -> None:
    with planted(function, old, new), pytest.raises(AssertionError):
        check()


def test_the_places_of_all_errors_are_there() -> None:
    """Also of those that the normal tests do not plant."""
    for _, function, errors in MUTANTS:
        for _, old, new in errors:
            with planted(function, old, new):
                pass
