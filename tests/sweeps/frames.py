"""Frames of trials for tests."""

from typing import Any

import polars as pl

RATE, DOUBLE = "hparams.learning_rate", "config.double"
TYPES = {"error": pl.String, "eval_return": pl.Float64, "train_return": pl.Float64}


def frame(agents: list[dict[str, Any]]) -> pl.DataFrame:
    """Results with the columns that every sweep has; an agent without an evaluation return has diverged."""
    always = {"group": 0, "chunk": 0, "error": None, "train_return": None, "env_steps": 1000, "seconds": 1.0}
    rows = [
        {"agent": agent, **always, "status": "finished" if row["eval_return"] is not None else "diverged", **row}
        for agent, row in enumerate(agents)
    ]
    return pl.DataFrame(rows, schema_overrides=TYPES)


def by_configuration(returns: list[list[float | None]], train_returns: list[float | None] | None = None):
    """Results of configurations with these evaluation returns of their seeds; the training return is all seeds'."""
    return frame(
        [
            {"configuration": c, "seed": s, RATE: 10.0**-c, DOUBLE: c % 2 == 1, "eval_return": value}
            | ({"train_return": train_returns[c]} if train_returns else {})
            for c, seeds in enumerate(returns)
            for s, value in enumerate(seeds)
        ]
    )
