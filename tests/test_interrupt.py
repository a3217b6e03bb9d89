"""Which programs are commands, whose interruption is quiet."""

from jaxrl.interrupt import _is_command


def test_what_counts_as_a_command() -> None:
    assert _is_command(["python", "-X", "dev", "-m", "jaxrl.experiments.ppo_cartpole", "--out", "x"])
    for words in (["python", "-m", "pytest", "jaxrl.experiments"], ["python", "my_program.py"], ["python", "-m"]):
        assert not _is_command(words)
