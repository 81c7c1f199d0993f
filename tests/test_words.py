import pytest

from s2tf_edge.words import first_few, one_line


@pytest.mark.parametrize(
    ("items", "told"),
    [([], ""), (["a"], "a"), (["a", "b", "c"], "a, b, c"), (["a", "b", "c", "d"], "a, b, c and 1 more")],
)
def test_length_does_not_grow_with_the_data(items: list[str], told: str) -> None:
    assert first_few(items, 3) == told


def test_what_holds_commas_can_be_told_apart() -> None:
    assert first_few(iter([(1, 2), (3, 4), (5, 6)]), 2, separator="; ") == "(1, 2); (3, 4) and 1 more"


def test_what_a_library_says_becomes_one_line() -> None:
    assert one_line(ValueError("not valid:\n\n  node 3\tis broken\r\n")) == "not valid: node 3 is broken"
