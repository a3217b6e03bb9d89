"""What a run says of itself on the screen."""

import numpy as np
from rich.console import Console

from jaxrl.runs.progress import ScreenLogger


def test_the_latest_numbers() -> None:
    """Also before there are any. That most samples are not learned from is said."""
    logger = ScreenLogger(Console(quiet=True), 100)
    logger.write({"loss": np.array([0.25, np.nan]), "unused": np.array([np.nan, np.nan])})
    assert logger.latest == "loss 0.25"
    logger.write({"loss": np.nan, "unused": np.array([0.4, 0.6])})
    assert logger.latest == ""
    logger.write({"episode_return": 3.0, "unused": np.array([0.7, 0.9])})
    assert logger.latest == "return 3  80% of what is sampled holds a truncation and is not learned from"
    logger.close()
