"""What a comparison of algorithms says."""

import polars as pl

from jaxrl.sweeps.comparison import comparison_table
from tests.sweeps.frames import frame


def test_agents_that_diverged_count_in_the_speed_and_the_time() -> None:
    agents = [
        {"configuration": i // 2, "variant": "ab"[i // 2], "eval_return": x} for i, x in enumerate([1.0, None] * 2)
    ]
    agents += [{"configuration": 2, "variant": "c", "eval_return": None, "group": 1}]
    trials = frame(agents).with_columns(algorithm=pl.lit("DQN"), seconds=pl.lit(60.0), env_steps=pl.lit(1_200))
    table = comparison_table(trials, pl.col("variant"))
    assert table["algorithm"].to_list() == ["a", "b"]
    assert table["environment steps/s"].to_list() == ["80"] * 2
    assert table["minutes"].to_list() == ["0.5"] * 2


def test_the_speed_of_two_chunks_is_that_of_one() -> None:
    agents = [{"configuration": 0, "variant": "a", "eval_return": 1.0, "seed": i, "chunk": i} for i in range(2)]
    trials = frame(agents).with_columns(algorithm=pl.lit("DQN"), seconds=pl.lit(60.0), env_steps=pl.lit(1_200))
    assert comparison_table(trials, pl.col("variant"))["environment steps/s"].to_list() == ["20"]


def test_agents_that_train_together_share_the_minutes() -> None:
    agents = [{"configuration": i, "variant": name, "eval_return": 1.0, "seed": 0} for i, name in enumerate("aab")]
    trials = frame(agents).with_columns(algorithm=pl.lit("DQN"), seconds=pl.lit(180.0))
    assert comparison_table(trials, pl.col("variant"))["minutes"].to_list() == ["2.0", "1.0"]
