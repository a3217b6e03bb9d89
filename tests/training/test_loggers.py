"""Loggers."""

from jaxrl.training.loggers import TensorBoardLogger


def test_a_run_without_rows_leaves_no_tensorboard_file(tmp_path) -> None:
    logger = TensorBoardLogger(tmp_path / "tensorboard", [0])
    logger.resume(100)
    logger.close()
    assert not list(tmp_path.iterdir())
    logger = TensorBoardLogger(tmp_path / "tensorboard", [0])
    logger.write({"env_steps": 100, "loss": 1.0})
    logger.close()
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1
