"""Published returns beside ours."""

from jaxrl.sweeps.published import Published, published_above, published_table

PUBLISHED = (
    Published("DQN (a paper)", {"A": (17.0,), "B": (10.0,)}, "its rules", algorithm="DQN"),
    Published("AC (a paper)", {"A": (22.0, 25.0), "C": (1e6,)}, "the same"),
)


def test_the_table_has_our_returns_above_the_published_ones() -> None:
    ours = {"DQN": {"A": [16.0, 18.0]}, "PQN": {"A": [30.0], "B": [9.0]}}
    table = published_table(PUBLISHED, ours, {"DQN": "ours", "PQN": "ours too"})
    assert table.columns == ["evaluation return", "A", "B", "rules"]
    assert table.rows() == [
        ("DQN", "17.00 (16.00 to 18.00)", "–", "ours"),
        ("PQN", "30.00", "9.00", "ours too"),
        ("DQN (a paper)", "17", "10", "its rules"),
        ("AC (a paper)", "22–25", "–", "the same"),
    ]


def test_it_says_which_published_returns_are_above_ours() -> None:
    """One of the same algorithm above our mean; others above the best of ours. Games that we did not learn are none."""
    ours = {"DQN": {"A": [16.0, 17.0]}, "PQN": {"A": [20.0, 28.0], "B": [9.0]}}
    assert published_above(PUBLISHED, ours) == (
        "Published returns above ours (in brackets: the published one; ours): DQN (a paper) on A (17; DQN 16.5), "
        "DQN (a paper) on B (10; at best, PQN 9), AC (a paper) on A (25; at best, PQN 24)."
    )
    equal = {"DQN": {"A": [25.0], "B": [10.0]}}
    assert published_above(PUBLISHED, equal).startswith("No published return is above ours")
