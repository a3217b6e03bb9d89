"""Options: the record of a run gives them again, and what they imply."""

import pytest

from jaxrl.experiments import a2c_cartpole, dqn_cartpole, dqn_minatar, ppo_memory
from jaxrl.runs.options import MAY_CHANGE, flatten, read_options, untrained_steps, with_values


def test_the_record_of_a_run_gives_its_options_again() -> None:
    defaults = dqn_minatar.experiment.defaults
    changed = {"hparams.epsilon_decay_steps": 5e4, "hparams.max_grad_norm": 1}
    options = with_values(defaults, changed | {"rules": "gymnax", "env_options": ("a=1",), "num_seeds": 2})
    assert read_options(flatten(options), defaults) == options
    assert read_options({}, options) == options


def test_another_environment_has_options_of_its_own() -> None:
    defaults = ppo_memory.experiment.defaults
    assert with_values(defaults, {"env": "CartPole-v1"}).task.env_options == ("velocities=False",)
    assert with_values(defaults, {"env": "MemoryChain-bsuite"}).task.env_options == ()
    chosen = {"env": "MemoryChain-bsuite", "env_options": ["memory_length=3"]}
    assert with_values(defaults, chosen).task.env_options == ("memory_length=3",)


def test_what_decides_the_bits_of_a_run_must_stay_on_resuming() -> None:
    fixed = {path for path in flatten(dqn_minatar.experiment.defaults) if "." not in path} - set(MAY_CHANGE)
    assert fixed == {
        "env", "rules", "env_options", "seed", "num_seeds", "log_every", "eval_every", "num_devices",
        "deterministic",
    }  # fmt: skip


@pytest.mark.parametrize(("decay", "untrained"), [(0, 0), (3_000, 0), (2_000, 0), (500, 1_500)])
def test_steps_without_a_learning_rate_are_counted(decay: float, untrained: int) -> None:
    changed = {"total_steps": 2_000, "hparams.learning_rate_decay_steps": decay}
    assert untrained_steps(with_values(a2c_cartpole.experiment.defaults, changed)) == untrained
    assert untrained_steps(dqn_cartpole.experiment.defaults) == 0
