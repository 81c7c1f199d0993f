import json

import pytest

from s2tf_edge.words import first_few, json_text, message_line, one_line, printable, shortened


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("walk\tfast\nrun", "walk\tfast\nrun"),
        ("größer 走る 🏃‍♂️", "größer 走る 🏃‍♂️"),
        ("\x1b]0;owned\x07wave", r"\x1b]0;owned\x07wave"),
        ("a\rb\x7f\x9b2J", r"a\rb\x7f\x9b2J"),
        ("user\u202egpj.exe\u2066", r"user\u202egpj.exe\u2066"),
        ("caf\udce9.mp4", r"caf\udce9.mp4"),
    ],
)
def test_a_terminal_obeys_no_word_of_others(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown
    packed = json_text({"label": text})
    assert json.loads(packed) == {"label": text}
    assert printable(packed) == packed


def test_long_words_are_cut_in_the_middle() -> None:
    assert shortened("cannot read a/b.mp4; give 'another one' then") == "cannot read a/b.mp4; give 'another one' then"
    assert shortened(f"got {'x' * 100_000}, not that") == f"got {'x' * 100}… 99801 characters …{'x' * 99}, not that"
    spaced = shortened(f"`fps` is '{'1 2 ' * 5000}' here; give a number")
    assert len(spaced) < 300
    assert spaced.endswith("here; give a number")
    assert len(shortened("word " * 500)) == 2500
    apostrophes = f"of the logits' range {'1 2 ' * 100} of the logits' range"
    assert shortened(apostrophes) == apostrophes


@pytest.mark.parametrize("said", ["\x1b" * 1000, "1 2 " * 9000, f"'{'x' * 9000}'", "\udc80\n" * 500, "walk " * 82])
def test_a_message_is_one_line_that_ends_in_what_to_do(said: str) -> None:
    advice = "; give another file: s2tf-export net.onnx --meta x.json"
    line = message_line(f"s2tf-export: error: clip.json holds {said}{advice}")
    assert len(line) <= 400
    assert line.isprintable()
    assert line.startswith("s2tf-export: error: clip.json holds ")
    assert line.endswith(advice)
