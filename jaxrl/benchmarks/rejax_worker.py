"""Trains an agent of rejax. It runs in an environment with rejax, where jaxrl is not installed.

Reads one line of JSON after another and answers each with one: first its settings (`rejax_settings`), and then the
number of iterations to run and time. It ends with its input.

An iteration is rejax's `train_iteration`, which its `train` repeats between two evaluations. Nothing is evaluated here.
"""

import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import rejax

PACKAGES = ("rejax", "gymnax", "jax", "flax", "optax")


def make(settings: dict[str, Any]) -> Any:
    """The algorithm. Those with a Q-network fix its sizes when they are made, so these are set afterwards."""
    algorithm = rejax.get_algo(settings["algorithm"]).create(**settings["config"])
    if settings["q_network"] is None:
        return algorithm
    return algorithm.replace(agent=algorithm.agent.clone(hidden_layer_sizes=tuple(settings["q_network"])))


def populate(algorithm: Any, agents: int) -> tuple[Any, Callable[[Any], Any]]:
    """The states of a population, and its iteration.

    Counters, which start as plain numbers, are one for all agents, as they are in `jax.vmap(algorithm.train)`.
    """
    keys = jax.random.split(jax.random.key(0), agents)
    states, tree = jax.tree.flatten(jax.jit(jax.vmap(algorithm.init_state))(keys))
    is_counter = [not isinstance(x, jax.Array) for x in jax.tree.leaves(algorithm.init_state(keys[0]))]
    axes = jax.tree.unflatten(tree, [None if counter else 0 for counter in is_counter])
    state = jax.tree.unflatten(tree, [x[0] if counter else x for x, counter in zip(states, is_counter, strict=True)])
    return state, jax.vmap(algorithm.train_iteration, in_axes=(axes,), out_axes=axes)


def compile_loop(algorithm: Any, agents: int | None) -> tuple[Any, Callable[[Any, np.int32], Any]]:
    """The initial state, and the compiled `(state, iterations) -> state`."""
    if agents is None:
        state, step = jax.jit(algorithm.init_state)(jax.random.key(0)), algorithm.train_iteration
    else:
        state, step = populate(algorithm, agents)
    # So that each call copies no replay. Donating smaller states made PPO slower than rejax's own `train`.
    donated = (0,) if hasattr(state, "replay_buffer") else ()
    run = jax.jit(lambda state, n: jax.lax.fori_loop(0, n, lambda _, x: step(x), state), donate_argnums=donated)
    return state, run.lower(state, np.int32(0)).compile()


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    settings = json.loads(sys.stdin.readline())
    start = time.perf_counter()
    state, run = compile_loop(make(settings), settings["agents"])
    compile_seconds = time.perf_counter() - start
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    answer(compile_seconds=compile_seconds, platform=jax.default_backend(), versions=versions)
    for line in sys.stdin:
        start = time.perf_counter()
        state = jax.block_until_ready(run(state, np.int32(json.loads(line))))
        seconds = time.perf_counter() - start
        optimizer = state.q_ts if hasattr(state, "q_ts") else state.actor_ts
        answer(seconds=seconds, env_steps=int(state.global_step), gradient_steps=int(optimizer.step))


if __name__ == "__main__":
    main()
