"""AlphaGo Zero's gate: who plays, and when another one does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.agents import AlphaZeroHparams, GateConfig, SearchConfig, alphazero, gate, gated
from jaxrl.agents.alphago_zero import GatedState, passes
from jaxrl.arguments import ArgumentError
from jaxrl.envs import action_space_of, make
from jaxrl.games import TicTacToe, greedy_player, random_player, solve
from jaxrl.networks import actor_critic, example_of
from jaxrl.training import OffPolicyConfig, Program, off_policy
from jaxrl.types import Agent, Decision, Mean, Trainer, TrainState
from tests.compiling import quick_jit

GAME = TicTacToe(2, 3, 3)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [((11, 50, 9), True), ((10, 0, 10), False), ((109, 0, 91), False), ((0, 9, 0), False), ((1, 9, 0), True)],
)
def test_a_network_passes_with_55_per_cent_of_the_games_that_were_won(counts, expected: bool) -> None:
    assert bool(passes(jnp.array(counts, jnp.int32), 0.55)) == expected


def spy() -> Agent:
    """Its state is its skill, 0 of a random player and 1 of a greedy one; an update adds 1, modulo 2."""
    greedy = greedy_player(GAME)

    def policy(state, given, key):
        return Decision(jnp.where(state == 1, greedy(given, key), random_player(given, key)))

    def update(state, batch, key, env_steps, constants=()):
        return (state + 1) % 2, {"loss": Mean.of(jnp.float32(0))}, ()

    return Agent(lambda key, hparams, observation: jnp.int32(0), lambda state, given, key, t: policy(state, given, key),
                 policy, update)  # fmt: skip


def test_the_best_player_plays_until_another_one_wins() -> None:
    """A better network takes its place at the next match, a worse one never, and only the learner learns."""
    agent = spy()
    player = gated(agent)

    def step(state, constants=()):
        learned, metrics, _ = player.update(state.agent, None, state.key, jnp.float32(0), ())
        return state._replace(iteration=state.iteration + 1, agent=learned), metrics

    trainer = Trainer(None, step, 1, 0, 100, 1, None)
    one = quick_jit(gate(trainer, agent, GAME, GateConfig(gate_every=3, gate_games=60, gate_opening_moves=1)).step)
    state = TrainState(jnp.int32(0), jax.random.key(0), quick_jit(player.init)(jax.random.key(1), (), None), ())
    seen, rates = [], []
    for _ in range(6):
        state, metrics = one(state)
        seen.append((int(state.agent.best), int(state.agent.learner), int(metrics["promoted"].count)))
        rates.append(float(metrics["gate_win_rate"].value()))
        assert float(metrics["promoted"].sum) == (len(seen) == 3)
    # The learner is greedy at the first match, in the third iteration, and random at the second.
    assert seen == [(0, 1, 0), (0, 0, 0), (1, 1, 1), (1, 0, 0), (1, 1, 0), (1, 0, 1)]
    np.testing.assert_array_equal(np.isnan(rates), [True, True, False] * 2)
    assert rates[2] > 0.75
    assert rates[5] < 0.25


def test_the_best_player_acts_and_prepares() -> None:
    def shown(state, *rest):
        return state

    def decide(state, *rest):
        return Decision(state)

    agent: Agent = Agent(shown, decide, decide, lambda state, *rest: (f"new {state}", {}, ()), memory=shown,
                         prepare=shown, outputs=shown)  # fmt: skip
    player, state = gated(agent), GatedState("best", "learner")
    assert player.outputs is not None
    seen = [player.act(state, None, None, 0).action, player.policy(state, None, None).action]
    seen += [player.memory(state, 4), player.prepare(state, None), player.outputs(state, None)]
    assert seen == ["best"] * 5
    assert player.update(state, None, None, 0, ())[0] == GatedState("best", "new learner")
    assert gated(agent._replace(outputs=None)).outputs is None


def test_each_match_has_games_of_its_own() -> None:
    agent = spy()
    trainer = Trainer(None, lambda state, constants=(): (state._replace(iteration=state.iteration + 1), {}),
                      1, 0, 100, 1, None)  # fmt: skip
    one = quick_jit(gate(trainer, agent, GAME, GateConfig(gate_every=1, gate_games=60)).step)
    random = GatedState(jnp.int32(0), jnp.int32(0))
    rates = [
        float(one(TrainState(jnp.int32(i), jax.random.key(0), random, ()))[1]["gate_win_rate"].value())
        for i in range(4)
    ]
    assert len(set(rates)) > 2


@pytest.mark.slow
def test_it_learns_behind_the_gate() -> None:
    """A small game: the best player, in whose games it learned, makes few mistakes, and was replaced a few times.

    With more simulations the search alone would play perfectly, and nobody would win a match.
    """
    env, params = make("game:tic_tac_toe", rows=2, columns=3, random_moves=5)
    network = actor_critic(example_of(env, params), action_space_of(env, params), (64,), "relu")
    agent = alphazero(network, env.game, SearchConfig("gumbel", num_simulations=3))
    sizes = OffPolicyConfig(num_envs=64, rollout_length=8, updates_per_iteration=8, batch_size=256,
                            replay_capacity=4096, warmup_steps=512)  # fmt: skip
    player = gated(agent)
    trainer = gate(off_policy(player, env, params, sizes), agent, env.game, GateConfig(5, 64))
    hparams = AlphaZeroHparams(learning_rate=5e-3, value_lambda=1.0)
    program = Program(trainer, jax.random.key(0), hparams)
    start = program.init(jax.random.key(0), hparams)
    solution = solve(env.game)
    observations = jax.vmap(env.game.observe)(solution.states)

    def mistakes(run_state) -> int:
        logits = quick_jit(player.outputs)(run_state.state.agent, observations).logits
        return int(solution.mistakes(np.where(solution.action_values > -2, logits, -np.inf).argmax(1)).sum())

    before = mistakes(start)
    run_state = program.compiled()(start, 250)
    promoted = run_state.metrics["promoted"]
    assert promoted.count == 50
    assert 0 < promoted.sum < 50
    assert mistakes(run_state) < before


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"^game must be"):
        gate(None, spy(), "tic_tac_toe")
    with pytest.raises(ArgumentError, match=r"^gate_games must be .*got 1"):
        gate(None, spy(), GAME, GateConfig(gate_games=1))
