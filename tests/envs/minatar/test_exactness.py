"""Our games equal the originals, step by step: states, rewards, ends and observations."""

from collections import Counter

import pytest

from jaxrl.envs import make
from tests.envs.minatar import ORIGINALS, dense_steps
from tests.envs.minatar.originals import (
    ENVS,
    assert_equal,
    compiled_step,
    our_single_steps,
    single_steps,
    walk,
)


@pytest.mark.parametrize("name", ORIGINALS)
def test_walks(name: str) -> None:
    env, _ = make(name)
    original = ORIGINALS[name]
    seen: Counter[str] = Counter()
    outcomes = [outcome for part in walk(env, original, steps=400, seed=0) for outcome in part]
    for before, after in zip(outcomes, outcomes[ENVS:], strict=False):
        seen.update({what: int(shown) for what, shown in original.events(before.next_row, after).items()})
    assert min(seen.values()) >= 3, seen


@pytest.mark.parametrize("name", ORIGINALS)
def test_single_steps_from_dense_states(name: str) -> None:
    env, _ = make(name)
    ours = our_single_steps(env, ORIGINALS[name], dense_steps(name), compiled_step, ENVS)
    assert_equal(ORIGINALS[name], dense_steps(name).outcomes, ours)


def test_a_sea_as_full_as_it_gets() -> None:
    env, _ = make("Seaquest-MinAtar")
    # All enemies go to the right, so that there is room for each: one a step at the fastest level, for 29 steps.
    (outcomes,) = walk(env, ORIGINALS["Seaquest-MinAtar"], steps=100, seed=0, always=1)
    assert max(len(outcome.row["fish"]) + len(outcome.row["submarines"]) for outcome in outcomes) == 29


@pytest.mark.parametrize("name", ORIGINALS)
def test_other_parameters_are_exact_too_and_compile_nothing(name: str) -> None:
    env, default = make(name)
    other = default.replace(sticky_action_prob=0.5, difficulty_ramping=False, max_steps_in_episode=10**6)
    compiled = []
    for params in (default, other):
        steps = single_steps(env, ORIGINALS[name], params, count=500)
        ours = our_single_steps(env, ORIGINALS[name], steps, compiled_step, ENVS)
        assert_equal(ORIGINALS[name], steps.outcomes, ours)
        compiled.append(compiled_step._cache_size())  # type: ignore[attr-defined]
    assert compiled[0] == compiled[1]


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", ORIGINALS)
def test_walks_of_a_million_steps(name: str) -> None:
    env, _ = make(name)
    for seed in range(1, 9):
        for _ in walk(env, ORIGINALS[name], steps=2520, seed=seed):
            pass  # each part is compared as it is played
