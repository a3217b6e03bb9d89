"""Evaluates a trained run, or an agent of a sweep, again."""

import dataclasses
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro
from annotated_types import Interval

from jaxrl.arguments import check
from jaxrl.cli.command import prepare_jax
from jaxrl.cli.errors import errors_in_one_line
from jaxrl.cli.loading import load_policy
from jaxrl.cli.parse import parse
from jaxrl.envs import describe_rules, vectorize
from jaxrl.random import key_stream
from jaxrl.runs.options import default_hint
from jaxrl.runs.page import with_epsilon
from jaxrl.training import evaluate


@dataclasses.dataclass(frozen=True)
class Options:
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run's directory, or a sweep's."""
    seed: Annotated[int | None, default_hint("the first")] = None
    """Which seed of a run of several."""
    agent: Annotated[int | None, default_hint("the best")] = None
    """Which agent of a sweep."""
    eval_seed: Annotated[int, Interval(ge=0, lt=2**31)] = 0
    """Where the randomness of the evaluation comes from."""
    episodes: Annotated[int, Interval(gt=0, lt=2**31)] = 128
    """Episodes, one in each of as many environments."""
    max_steps: Annotated[int, Interval(gt=0, lt=2**31)] = 5_000
    """Steps after which an unfinished episode is counted with its return so far."""


@errors_in_one_line()
def main() -> None:
    options = parse(Options, __doc__, prog="python -m jaxrl.experiments.evaluate")
    prepare_jax()
    check(options)
    trained = load_policy("RUN", options.run, options.seed, options.agent)
    envs = vectorize(trained.env, trained.env_params, options.episodes)
    result = jax.jit(
        lambda agent_state, key: evaluate(trained.agent.policy, agent_state, envs, key, options.max_steps)
    )(trained.agent_state, key_stream(options.eval_seed, "later evaluation"))
    returns, cut_short = np.asarray(result.episode_return), int((~result.ended).sum())
    played = f"{returns.size} episodes{with_epsilon(getattr(trained.options.hparams, 'epsilon_eval', None))}"
    if trained.name:
        print(trained.name)
    print(f"{trained.options.task.env} ({describe_rules(trained.env, trained.env_params)})")
    print(f"return {returns.mean():.2f} over {played}, {cut_short} cut short")
    print(f"returns {returns.min():g} to {returns.max():g}, standard deviation {returns.std():.2f}")
    print(f"episode length {np.mean(result.episode_length):.1f}")


if __name__ == "__main__":
    main()
