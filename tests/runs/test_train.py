"""Training: the evaluation at its end."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp

from jaxrl import Decision, make
from jaxrl.runs import Budget
from jaxrl.runs.train import evaluate
from jaxrl.types import no_memory


def test_the_evaluation_ends_after_the_steps_it_may_take() -> None:
    env, env_params = make("CartPole-v1")
    budget = Budget(total_steps=1, log_every=1, eval_episodes=3, eval_max_steps=2)
    setup = SimpleNamespace(
        env=env,
        env_params=env_params,
        agent=SimpleNamespace(
            policy=lambda state, given, key: Decision(jnp.zeros(len(given.observation), jnp.int32)),
            memory=no_memory,
        ),
        eval_keys=jax.random.split(jax.random.key(0), 2),
        devices=jax.devices()[:1],
        options=SimpleNamespace(budget=budget),
    )
    evaluation = evaluate(setup, jnp.zeros(2))
    assert evaluation.episode_length.tolist() == [[2, 2, 2]] * 2
    assert not evaluation.ended.any()
