from pathlib import Path

import pytest

from s2tf_edge.errors import InputFileError
from s2tf_edge.label_file import read_labels


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("plain.txt", "run\n\nwalk slowly\r\n", ("run", "walk slowly")),
        ("classInd.txt", "1 ApplyEyeMakeup\n2 Archery\n", ("ApplyEyeMakeup", "Archery")),
        ("zero.txt", "0 run\n1 walk slowly\n", ("run", "walk slowly")),
        ("numbers.txt", "7 wonders\n1 wonder\n", ("7 wonders", "1 wonder")),
        ("list.json", '["run", "wälk"]', ("run", "wälk")),
        ("kinetics.json", '{"\\"jumping\\"": 1, "abseiling": 0}', ("abseiling", "jumping")),
    ],
)
def test_reads_the_usual_forms(name: str, text: str, labels: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_labels(tmp_path / name) == labels


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b"", "must name one class or more, each once; it has 0 names"),
        ("twice.txt", b"run\nrun\n", "it has 2 names, 1 different"),
        ("gap.json", b'{"run": 0, "walk": 2}', "indices must be 0 to 1, each once"),
        ("odd.json", b'{"run": "x"}', "indices must be 0 to 0, each once"),
        ("number.json", b"3", "expected a JSON list of names"),
        ("broken.json", b"[", "is not a list of class names"),
        ("utf16.txt", "run\nwalk\n".encode("utf-16"), r"is not a list of class names in UTF-8 .* like UTF-16: iconv"),
        ("latin1.json", '["gähnen"]'.encode("latin-1"), r"it looks like Latin-1 .*latin1\.json > .*latin1\.utf8\.json"),
        ("gbk.txt", "1 开门\n2 跑步\n".encode("cp936"), r"it looks like GBK \(cp936\): iconv -f CP936 -t UTF-8"),
    ],
)
def test_explains_what_is_wrong(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputFileError, match=message):
        read_labels(tmp_path / name)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"cannot read .*No such file"):
        read_labels(tmp_path / "none.txt")
