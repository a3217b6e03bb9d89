"""Evaluates a trained run, or an agent of a sweep, again."""

import dataclasses
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro
from annotated_types import Interval

from jaxrl.cli.checks import UsageError, check_options
from jaxrl.cli.record import with_epsilon
from jaxrl.cli.train import fail, prepare_jax
from jaxrl.envs import protocol_of, vectorize
from jaxrl.random import key_stream
from jaxrl.trained import load
from jaxrl.training import CheckpointError, evaluate


@dataclasses.dataclass(frozen=True)
class Options:
    run: tyro.conf.Positional[Path]
    """The run's directory, or a sweep's."""
    seed: int | None = None
    """Which seed of a run of several; unless given, its first."""
    agent: int | None = None
    """Which agent of a sweep; unless given, the best."""
    eval_seed: Annotated[int, Interval(ge=0, lt=2**31)] = 0
    """Where the evaluation's randomness comes from."""
    episodes: Annotated[int, Interval(gt=0, lt=2**31)] = 128
    """Episodes, one in each of as many worlds."""
    max_steps: Annotated[int, Interval(gt=0, lt=2**31)] = 5_000
    """Steps after which an unfinished episode is counted with its return so far."""


def main() -> None:
    options = tyro.cli(Options, description=__doc__, prog="python -m jaxrl.experiments.evaluate")
    prepare_jax()
    try:
        check_options(options)
        trained = load(options.run, options.seed, options.agent)
    except (UsageError, ValueError) as error:
        fail(str(error), 2)
    except CheckpointError as error:
        fail(str(error), 1)
    worlds = vectorize(trained.env, trained.env_params, options.episodes)
    result = jax.jit(
        lambda agent_state, key: evaluate(trained.agent.policy, agent_state, worlds, key, options.max_steps)
    )(trained.agent_state, key_stream(options.eval_seed, "later evaluation"))
    returns, cut_short = np.asarray(result.episode_return), int((~result.ended).sum())
    played = f"{returns.size} episodes{with_epsilon(getattr(trained.options.hparams, 'epsilon_eval', None))}"
    if trained.name:
        print(trained.name)
    print(f"{trained.options.env} ({protocol_of(trained.env, trained.env_params)})")
    print(f"return {returns.mean():.2f} ± {returns.std():.2f} over {played}, {cut_short} cut short")
    print(f"episode length {np.mean(result.episode_length):.1f}, returns {returns.min():g} to {returns.max():g}")


if __name__ == "__main__":
    main()
