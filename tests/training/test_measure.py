"""What evaluations of games measure."""

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.distributions import Categorical
from jaxrl.envs import make
from jaxrl.games import ILLEGAL, UnsolvedError, judge
from jaxrl.training import measure
from jaxrl.training.devices import mesh_of
from jaxrl.training.measure import AGAINST_RANDOM, NO_MISTAKES, RETURN, measure_of, mistakes, without_search
from jaxrl.types import Agent, Decision


def by_number(searches: bool = False) -> Agent:
    """Takes the legal action of the highest number, or of the lowest if its state is negative; others by a search."""

    def policy(state, given, key):
        count = given.legal.shape[1]
        scores = jnp.where(given.legal, jnp.sign(state) * jnp.arange(count), -jnp.inf)
        if searches:
            assert given.env_states.player.shape == given.legal.shape[:1]
            return Decision(given.legal.argmax(1))
        return Decision(scores.argmax(1))

    def outputs(state, observations):
        return Categorical(jnp.broadcast_to(state * jnp.arange(9.0), (len(observations), 9)))

    return Agent(lambda *_: (), lambda *_: Decision(0), policy, lambda *_: ((), {}, ()), outputs=outputs,
                 needs_env_states=searches, searches=searches)  # fmt: skip


STATES, KEYS = jnp.array([1.0, -1.0]), jax.random.split(jax.random.key(0), 2)


def evaluated(found, states=STATES, keys=KEYS):
    return found.evaluate(states, keys, mesh_of(None, keys.shape))


@pytest.mark.parametrize("searches", [False, True])
def test_moves_of_the_network_alone_are_judged(searches: bool) -> None:
    """In a sample of positions; the search, which takes the first legal action, plays no part."""
    env, params = make("game:tic_tac_toe", random_moves=5)
    agent, part = by_number(searches), judge(env.game).sample(100)
    found = measure_of(agent, env, params, 100, 50)
    assert found.words == NO_MISTAKES
    result = evaluated(found)
    legal = part.action_values != ILLEGAL
    chosen = np.stack([8 - legal[:, ::-1].argmax(1), legal.argmax(1)])
    expected = np.stack([~part.mistakes(actions) for actions in chosen])
    assert 0.4 < expected.mean() < 0.9
    np.testing.assert_array_equal(result.episode_return, expected)
    assert result.ended.all()
    for state, actions in zip(STATES, chosen, strict=True):
        np.testing.assert_array_equal(mistakes(without_search(agent), state, env.game, part), part.mistakes(actions))
    searched = mistakes(agent, STATES[0], env.game, part)
    np.testing.assert_array_equal(searched, part.mistakes(chosen[1] if searches else chosen[0]))


def test_agents_that_were_judged_are_forgotten() -> None:
    """But for the last two: a player with its search, and without."""
    env, _ = make("game:tic_tac_toe", rows=1, columns=2, length=2)
    solution, policies = judge(env.game).sample(2), []
    for _ in range(3):
        agent = by_number()
        policies.append(weakref.ref(agent.policy))
        mistakes(agent, STATES[0], env.game, solution)
        del agent
    gc.collect()
    assert [policy() is None for policy in policies] == [True, False, False]


def test_many_positions_are_judged_in_chunks(monkeypatch) -> None:
    env, _ = make("game:tic_tac_toe")
    solution, agent = judge(env.game).sample(250), by_number()
    at_once = mistakes(agent, STATES[0], env.game, solution)
    monkeypatch.setattr(measure, "CHUNK", 100)  # the last one is smaller
    np.testing.assert_array_equal(mistakes(agent, STATES[0], env.game, solution), at_once)


def test_without_a_judge_a_random_player_is_the_measure(monkeypatch) -> None:
    """On 2 × 2 cells, the second move of who begins wins: that is each player in half of the games."""

    def nobody(game):
        raise UnsolvedError("game", "has no judge")

    monkeypatch.setattr(measure, "judge", nobody)
    env, params = make("game:tic_tac_toe", rows=2, columns=2, length=2)
    found = measure_of(by_number(), env, params, 400, 50)
    assert found.words == AGAINST_RANDOM
    result = evaluated(found, STATES[:1], KEYS[:1])
    assert result.ended.all()
    assert set(np.unique(result.episode_return)) == {-1, 1}
    assert abs(result.episode_return.mean()) < 0.15


def test_other_environments_have_returns() -> None:
    env, params = make("game:tic_tac_toe", rows=2, columns=3, opponent="random", random_moves=1)
    assert measure_of(by_number(), env, params, 4, 50).words == RETURN
    cart, cart_params = make("CartPole-v1")
    assert measure_of(by_number(), cart, cart_params, 4, 50).words == RETURN


def test_a_random_player_meets_the_network_alone(monkeypatch) -> None:
    met: list[Agent] = []

    def nobody(game):
        raise UnsolvedError("game", "has no judge")

    monkeypatch.setattr(measure, "judge", nobody)
    monkeypatch.setattr(measure, "evaluate_agents", lambda agent, envs, max_steps: met.append(agent))
    measure_of(by_number(searches=True), *make("game:tic_tac_toe"), 4, 50)
    assert not met[0].searches


def test_an_agent_that_is_judged_has_its_memory() -> None:
    env, _ = make("game:tic_tac_toe")
    part = judge(env.game).sample(20)

    def policy(state, given, key):
        return Decision(jnp.where(given.memory[:, 0] == state, given.legal.argmax(1), -1))

    agent = by_number()._replace(policy=policy, memory=lambda state, number: jnp.full((number, 1), state))
    first = (part.action_values != ILLEGAL).argmax(1)
    np.testing.assert_array_equal(mistakes(agent, STATES[0], env.game, part), part.mistakes(first))
