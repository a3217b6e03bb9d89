"""What fields of dataclasses may hold."""

import dataclasses
import math
import pickle
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from annotated_types import Ge, Gt, Interval, MinLen

from jaxrl.arguments import ArgumentError, check, check_value, errors_in, suggest, whole_number


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Traced:
    period: Annotated[int, Interval(gt=0, lt=2**31)] = 1
    rate: Annotated[float, Interval(gt=0, lt=1e30)] = 1e-3
    share: Annotated[float, Interval(ge=0, le=0.1)] = 0.1
    steps: Annotated[float, Ge(0)] = 0.0
    any: float = 0.0
    flag: bool = False


@dataclasses.dataclass(frozen=True)
class Static:
    sizes: tuple[Annotated[int, Gt(0)], ...] = (64,)
    layers: Annotated[tuple[Annotated[int, Gt(0)], ...], MinLen(1)] = (64,)
    seconds: Annotated[float, Gt(0)] = 60.0
    seed: Annotated[int | None, Ge(0)] = None
    most: int | None = None
    name: str = ""
    kind: Literal["a", "b"] = "a"
    as_arrays: Traced = Traced()


GOOD = [
    (Traced, "period", [3, np.int8(3), np.array([1, 2]), jnp.array([1, 2]), 2**31 - 1]),
    (Traced, "rate", [1, 0.5, np.float32(0.5), np.array([1, 2]), jnp.bfloat16(0.5), 1.2e-38]),
    (Traced, "share", [0, 0.1, np.float32(0.1) - np.float32(0.01), 1e-50, np.array([0.0, 0.1])]),
    (Traced, "steps", [0, 1e6, math.inf, 10**12]),
    (Traced, "flag", [True, np.bool_(True), jnp.array([True, False])]),
    (Static, "sizes", [(), (64, np.int32(8)), [64]]),
    (Static, "seconds", [1e-50, 1]),  # not traced: it stays what it is
    (Static, "seed", [None, 0]),
    (Static, "most", [None, -1]),
    (Static, "name", ["x", ("x", "y")]),
]
BAD = [
    (Traced, "period", 0.5, "period must be a whole number, got 0.5"),
    (Traced, "period", 1.9, "period must be a whole number, got 1.9"),
    (Traced, "period", np.float32(1.5), "period must be a whole number, got 1.5"),
    (Traced, "period", np.array([1, 2.5]), "period must be a whole number, got 2.5"),
    (Traced, "period", jnp.array([3, 0]), "period must be > 0, got 0"),
    (Traced, "period", 2**31, "period must be < 2147483648, got 2147483648"),
    (Traced, "period", True, "period must be a whole number, got True"),
    (Traced, "period", np.array([True]), "period must be a whole number, got [ True]"),
    (Traced, "period", None, "period must have a value, got None"),
    (Traced, "rate", 1e-50, "rate must be > 0 in float32, got 1e-50"),
    (Traced, "rate", np.array([1e-3, 1e-46]), "rate must be > 0 in float32, got 1e-46"),
    (Traced, "rate", 1e-40, "rate must be > 0 in float32, got 1e-40"),  # not normal, and XLA takes it for zero
    (Traced, "rate", np.nextafter(1e30, 0), "rate must be < 1e+30 in float32, got 9.999999999999999e+29"),
    (Traced, "rate", 10**400, f"rate must be < 1e+30, got {10**400}"),
    (Traced, "rate", math.nan, "rate must be > 0, got nan"),
    (Traced, "rate", True, "rate must be a number, got True"),
    (Traced, "rate", 1j, "rate must be a number, got 1j"),
    (Traced, "rate", [0.5], "rate must be a number, got [0.5]"),
    (Traced, "share", np.array([0, 0.2]), "share must be <= 0.1, got 0.2"),
    (Traced, "steps", 1e39, "steps must be finite in float32, got 1e+39"),
    (Traced, "steps", 10**400, f"steps must be finite in float32, got {10**400}"),
    (Traced, "any", "x", "any must be a number, got 'x'"),
    (Traced, "any", -1e39, "any must be finite in float32, got -1e+39"),
    (Traced, "flag", "maybe", "flag must be true or false, got 'maybe'"),
    (Static, "sizes", (64, 0.5), "sizes must be a whole number, got 0.5"),
    (Static, "sizes", (64, 0), "sizes must be > 0, got 0"),
    (Static, "sizes", 64, "sizes must be a tuple, got 64"),
    (Static, "layers", (), "layers must have at least 1 item, got ()"),
    (Static, "layers", (0,), "layers must be > 0, got 0"),
    (Static, "seed", -1, "seed must be >= 0, got -1"),
    (Static, "most", 0.5, "most must be a whole number, got 0.5"),
    (Static, "kind", "c", "kind must be one of a, b, got 'c'"),
    (Static, "as_arrays", Traced(rate=-1), "as_arrays.rate must be > 0, got -1"),
]


@pytest.mark.parametrize(("record", "name", "values"), GOOD, ids=[name for _, name, _ in GOOD])
def test_values_that_can_be_used(record, name: str, values: list) -> None:
    for value in values:
        check(record(**{name: value}))


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (int | float, [1, 0.5], ["x"]),
        (float | Literal["auto"], [0.5, "auto"], ["foo"]),
        (Annotated[float, Interval(gt=0)] | None, [1.0, None], [-1.0, "x"]),
        (tuple[int, ...] | None, [(1, 2), None], [(1, "x"), 3]),
        (tuple[int, float], [(1, 0.5)], [(0.5, 1), (1, "x")]),
        (tuple[tuple[int, ...], ...], [((1,), (2, 3))], [((1, "x"),)]),
        (Literal[1, 2], [1, 2], [3]),
    ],
)
def test_unions_and_tuples(hint: Any, good: list, bad: list) -> None:
    for value in good:
        check_value("x", value, hint)
    for value in bad:
        with pytest.raises(ArgumentError, match=r"^x must"):
            check_value("x", value, hint)


@pytest.mark.parametrize(("record", "name", "value", "message"), BAD)
def test_values_that_cannot(record, name: str, value, message: str) -> None:
    with pytest.raises(ArgumentError) as error:
        check(record(**{name: value}))
    assert str(error.value) == message


def test_traced_values_pass() -> None:
    jax.jit(lambda x: check(Traced(period=x, rate=x)))(-1.5)


def test_an_error_is_renamed_by_its_caller_and_says_where_its_argument_comes_from() -> None:
    error = ArgumentError("num_envs", "must be > 0", -1)
    error.name = f"config.{error.name}"
    with pytest.raises(ArgumentError) as raised, errors_in(Path("sweep.toml")):
        raise error
    assert raised.value is error
    assert (error.name, error.rule, error.value) == ("config.num_envs", "must be > 0", -1)
    assert str(error) == str(pickle.loads(pickle.dumps(error))) == "in sweep.toml, config.num_envs must be > 0, got -1"
    assert error.line("--config.num-envs") == "--config.num-envs must be > 0, got -1"
    assert str(ArgumentError("resume", "needs out", True, got="")) == "resume needs out"


NUMBERS = {"1e6": 10**6, "1_000_000": 10**6, "2.5e5": 250_000, "1E3": 1000, "-3": -3, "1000.0": 1000}


@pytest.mark.parametrize("text", NUMBERS)
def test_whole_numbers(text: str) -> None:
    assert whole_number(text) == NUMBERS[text]


@pytest.mark.parametrize("text", ["1.5", "1e-1", "nan", "inf", "1e999999999", "", "many", "0x10"])
def test_no_whole_numbers(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"must be a whole number, such as 1000000 or 1e6, got {text!r}")):
        whole_number(text)


@pytest.mark.parametrize(
    ("name", "known", "suggestion"),
    [
        ("lr", ["hparams.learning_rate", "seed"], "the nearest is hparams.learning_rate"),
        ("config.lerning_rate", ["hparams.learning_rate", "seed"], "the nearest is hparams.learning_rate"),
        ("config.wibble", ["hparams.tau", "config.loss", "config.n_step"], "one of config.loss, config.n_step"),
        ("Foo", ["FourRooms-misc", "CartPole-v1"], "one of FourRooms-misc, CartPole-v1"),  # none is near
        ("maze.txt", ["cliff", "lecture"], "one of cliff, lecture"),
    ],
)
def test_what_is_suggested_in_place_of_an_unknown_name(name: str, known: list[str], suggestion: str) -> None:
    assert suggest(name, known) == suggestion
    assert suggest("rate", ["seed"], "--") == "one of --seed"
    assert suggest(3, ["seed"]) == "one of seed"
