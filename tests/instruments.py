"""Instruments that show how parts are wired: who uses which random key, and what clocks say.

A `Log` notes every key that `jax.random` draws from or splits, of whatever kind the key is. An
agent, a network and environments note what they are given; only they know what jaxrl's functions take and give.
"""

import itertools
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments import spaces

from jaxrl.envs import Environment, check_resets
from jaxrl.random import as_keys
from jaxrl.types import Agent, Decision, Sample
from jaxrl.xla.threefry import inline

USES = ("bits", "categorical", "choice", "gumbel", "loggamma", "normal", "permutation", "randint", "split", "uniform")
"""Functions of `jax.random` that use up a key. `fold_in` does not, but a key is either folded or used up."""


class Use(NamedTuple):
    """One use of a key.

    Attributes:
        key: its words.
        folded: what was folded into it, or None where it was used up.
        user: who used it.
    """

    key: tuple[int, ...]
    folded: int | None
    user: str


class Log:
    """What was seen, in order while nothing is compiled.

    Attributes:
        uses: of keys.
        words: random words that environments were given, each with the name of who got it.
        clocks: the `env_steps` that each function was given, in order.
    """

    def __init__(self) -> None:
        self.uses: list[Use] = []
        self.words: list[tuple[int, str]] = []
        self.clocks: dict[str, list[float]] = defaultdict(list)

    def use(self, key: jax.Array, user: str, folded: Any = None) -> None:
        """Notes the use of one key or, for each by itself, of several."""

        def note(data: np.ndarray, folded: Any) -> None:
            for words in np.asarray(data).reshape(-1, np.shape(data)[-1]):
                self.uses.append(Use(tuple(words.tolist()), None if folded is None else int(folded), user))

        jax.debug.callback(note, jax.random.key_data(key), folded)

    def show(self, words: jax.Array, user: str) -> None:
        """Notes random words `[...]`."""
        jax.debug.callback(lambda words: self.words.extend((int(word), user) for word in np.ravel(words)), words)

    def notify(self, user: str, env_steps: jax.Array) -> None:
        """Notes a clock."""
        jax.debug.callback(lambda env_steps: self.clocks[user].append(float(env_steps)), env_steps)

    def count(self, user: str) -> int:
        """How many keys a user used."""
        return sum(use.user == user for use in self.uses)

    def check(self) -> None:
        """All keys differ, and all random words.

        Raises:
            AssertionError: two uses share a key, or a word is seen twice.
        """
        jax.effects_barrier()
        uses: dict[tuple[int, ...], list[Use]] = defaultdict(list)
        for use in self.uses:
            uses[use.key].append(use)
        shared = [
            f"{one.user} and {other.user} use one key"
            for of_one_key in uses.values()
            for one, other in itertools.combinations(of_one_key, 2)
            if None in (one.folded, other.folded) or one.folded == other.folded
        ]
        users: dict[int, list[str]] = defaultdict(list)
        for word, user in self.words:
            users[word].append(user)
        shared += [f"{' and '.join(names)} see one word" for names in users.values() if len(names) > 1]
        assert not shared, "; ".join(sorted(set(shared)))


@contextmanager
def watching(compiled: bool = False) -> Iterator[Log]:
    """A log of all that happens meanwhile; but no environment is tried out.

    Args:
        compiled: whether to leave compiling on. Without it tiny programs are faster, and what is seen is in order. Keys
            are not made inline then, which gives the same numbers with a tenth of the kernels.
    """
    log = Log()

    def watch(name: str) -> Callable:
        function = getattr(jax.random, name)

        def watched(key: jax.Array, *args: Any, **kwargs: Any) -> Any:
            log.use(key, sys._getframe(1).f_code.co_qualname, args[0] if name == "fold_in" else None)
            return function(key, *args, **kwargs)

        return watched

    with pytest.MonkeyPatch.context() as monkeypatch, jax.disable_jit(not compiled):
        for name in (*USES, "fold_in"):
            monkeypatch.setattr(jax.random, name, watch(name))
        monkeypatch.setattr(check_resets, "__code__", (lambda env, params: None).__code__)
        if not compiled:
            monkeypatch.setattr(inline, "__code__", (lambda key: as_keys(key)).__code__)
        yield log
        jax.effects_barrier()


def spy_agent(log: Log) -> Agent:
    """Notes its keys and clocks, and the smallest weight of a sample; its actions are 0, its errors 1 and 2."""

    def init(key, hparams, observation):
        log.use(key, "init")
        return ()

    def act(state, given, key, env_steps):
        log.use(key, "act")
        log.notify("act", env_steps)
        return Decision(jnp.zeros(len(given.observation), jnp.int32))

    def policy(state, given, key):
        log.use(key, "policy")
        return Decision(jnp.zeros(len(given.observation), jnp.int32))

    def update(state, batch, key, env_steps, constants):
        log.use(key, "update")
        log.notify("update", env_steps)
        if not isinstance(batch, Sample):
            return state, {}, ()
        log.notify("smallest weight", batch.weights.min())
        return state, {}, jnp.where(jnp.arange(len(batch.weights)) % 2, 2.0, 1.0)

    return Agent(init, act, policy, update)


class SpyNetwork:
    """Q(s, ·) of two actions: parameters, and noise if there is a key for it."""

    def init(self, key, observations):
        return jax.random.normal(key, (2,))

    def apply(self, params, observations, *, rngs=None):
        noise = 0.0 if rngs is None else jax.random.normal(rngs["noise"], (2,))
        return jnp.broadcast_to(params + noise, (len(observations), 2))


class SpyEnv(Environment):
    """Notes its random words; episodes last three steps."""

    random_words, num_actions, name = 2, 2, "Spy"
    default_params: Any = ()

    def describe_rules(self, params):
        return "spy"

    def __init__(self, log: Log) -> None:
        self.log = log

    def initial(self, bits, params):
        self.log.show(bits, "reset")
        return jnp.zeros_like(bits[0])

    def restart(self, state, bits, params):
        return jnp.zeros_like(state)

    def transition(self, state, action, bits, params):
        self.log.show(bits, "step")
        return state + 1, jnp.ones(state.shape), jnp.zeros(state.shape, bool)

    def is_truncated(self, state, params):
        return state >= 3

    def encode(self, state):
        return state[None]

    def decode(self, words):
        return words.astype(jnp.float32)


class SpyGymnax:
    """An environment with gymnax's interface that notes its keys; episodes last three steps."""

    name = "Spy"
    default_params = ()

    def __init__(self, log: Log) -> None:
        self.log = log

    def reset(self, key, params=None):
        self.log.use(key, "reset")
        return jnp.zeros(1), jnp.int32(0)

    def step(self, key, state, action, params=None):
        self.log.use(key, "step")
        final = (state + 1)[None].astype(jnp.float32)
        truncated = state >= 2
        state = jnp.where(truncated, 0, state + 1)
        info = {"final_observation": final}
        return state[None].astype(jnp.float32), state, jnp.float32(1), jnp.bool(False), truncated, info

    def action_space(self, params=None):
        return spaces.Discrete(2)
