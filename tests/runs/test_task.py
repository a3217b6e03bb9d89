"""The options of an environment, as texts."""

from jaxrl.runs.task import parse_env_options


def test_values_of_an_environments_options_are_numbers_truths_or_text() -> None:
    options = parse_env_options(
        ("a=3", "b=-0.5", "c=1e-3", "d=True", "e=false", "f=cliff", "g=S.\n.G\nmove = -1", "h=")
    )
    expected = {"a": 3, "b": -0.5, "c": 0.001, "d": True, "e": False, "f": "cliff", "g": "S.\n.G\nmove = -1", "h": ""}
    assert options == expected
    assert [type(value) for value in options.values()] == [type(value) for value in expected.values()]
    assert list(map(type, parse_env_options(("a=2e3", "b=2.0", "c=-1E2")).values())) == [int, float, int]
