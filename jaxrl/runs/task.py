"""The environment of a task."""

import dataclasses
from typing import Any

from jaxrl import envs
from jaxrl.arguments import ArgumentError, renaming, whole_number
from jaxrl.envs.foreign import adapt
from jaxrl.envs.maps import map_text
from jaxrl.runs.options import Task


def make_env(task: Task) -> tuple[Any, Any]:
    """The environment of a task, and its parameters."""
    try:
        env, env_params = envs.make(task.env, task.rules, **parse_env_options(with_map(task).env_options))
        envs.action_space_of(env, env_params)
    except ArgumentError as error:
        if error.name == "env_id":
            error.name = "env"
        elif error.name not in ("env", "rules") and not error.name.startswith("env_options"):
            error.name = f"env_options.{error.name}"
        raise
    if not isinstance(env, envs.Environment | envs.HostEnvironment | envs.MultiAgentEnvironment):
        try:
            adapt(env, env_params)
        except ArgumentError as error:
            raise ArgumentError("env", f"{task.env} cannot be used: {error}", task.env, got="") from error
    return env, env_params


def with_map(task: Task) -> Task:
    """The task with the text of a map in place of the name of its file, which may change later."""
    if task.env != "GridWorld":
        return task
    with renaming(map="env_options.map"):
        options = [f"map={map_text(text[4:])}" if text.startswith("map=") else text for text in task.env_options]
    return dataclasses.replace(task, env_options=tuple(options))


def parse_env_options(env_options: tuple[str, ...]) -> dict[str, Any]:
    """`NAME=VALUE` texts as arguments of `jaxrl.make`. A value is an int, a float or a bool if it reads as one."""
    options: dict[str, Any] = {}
    for text in env_options:
        name, equals, value = text.partition("=")
        if not equals or name in ("", "env_id", "rules"):
            raise ArgumentError("env_options", "must be NAME=VALUE, with the name of an option", text)
        options[name] = _parse(value)
    return options


def _parse(text: str) -> int | float | bool | str:
    kinds = (int, whole_number, float) if "e" in text.lower() else (int, float)  # 1e6 is a whole number, 2.0 is not
    for kind in kinds:
        try:
            return kind(text)
        except ValueError:
            pass
    return {"true": True, "false": False}.get(text.lower(), text)
