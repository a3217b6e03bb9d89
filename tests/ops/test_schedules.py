"""Schedules by hand."""

import pytest

from jaxrl import ops


@pytest.mark.parametrize(("env_steps", "expected"), [(0, 1.0), (25, 0.775), (100, 0.1), (1e9, 0.1)])
def test_linear_annealing(env_steps: float, expected: float) -> None:
    assert ops.linear_annealing(env_steps, 1.0, 0.1, 100) == pytest.approx(expected)
    assert ops.linear_annealing(env_steps, 0.5, 0.5, 0) == pytest.approx(0.5)


@pytest.mark.parametrize(("env_steps", "expected"), [(0, 1.0), (25, 0.75), (100, 0.0), (1e9, 0.0)])
def test_linear_decay(env_steps: float, expected: float) -> None:
    assert ops.linear_decay(env_steps, 100) == pytest.approx(expected)
    assert ops.linear_decay(env_steps, 0) == 1
