"""Whatever stands in a file of somebody else, reading it ends in a result or in one short line of ours.

Two ways to spoil a file: a valid one with some values in place of others, and its bytes cut, flipped or in another
code. `make test` tries the same 100 of each file every time, CI and `make test-all` 2,000, `make fuzz` others for an
hour. A new reader is a line in ``FILES``. Networks themselves, whose examples take longer, are in
``test_untrusted_networks.py``.
"""

from __future__ import annotations

import codecs
import functools
import json
import resource
import shutil
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from google.protobuf import text_format  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from s2tf_edge.cli.app import error_line
from s2tf_edge.cli.stream_config import merge_flags
from s2tf_edge.cli.stream_flags import StreamFlags
from s2tf_edge.cli.stream_plan import plan_stream
from s2tf_edge.clip_file import read_clip_file
from s2tf_edge.data.datasets import open_videos
from s2tf_edge.data.sides import SIDES
from s2tf_edge.errors import BuildError, MissingExtraError, S2TFError
from s2tf_edge.export import ExportOptions, plan_export, plan_publication
from s2tf_edge.export.triton.config import config_text, labels_text
from s2tf_edge.export.triton.interface import served_model
from s2tf_edge.export.triton.readme import readme_text
from s2tf_edge.export.verify.expected import read_expected
from s2tf_edge.file_kinds import find_kind
from s2tf_edge.label_file import read_labels
from s2tf_edge.models.checkpoints.foreign_files import check_published
from s2tf_edge.runtime.archives.job import Job
from s2tf_edge.runtime.archives.settled_list import SettledList
from s2tf_edge.runtime.archives.shards import Shards
from s2tf_edge.runtime.archives.tally import ArchiveTally
from s2tf_edge.runtime.artifact import read_meta
from s2tf_edge.runtime.open import is_artifact, open_session
from s2tf_edge.runtime.reporting.compare import compare_reports
from s2tf_edge.runtime.reporting.facts import read_facts
from s2tf_edge.runtime.reporting.merge import merge_reports
from s2tf_edge.runtime.reporting.saved import read_report
from s2tf_edge.runtime.sources.parsing import parse_source
from s2tf_edge.step_spec import StateSpec, StepSpec
from s2tf_edge.training.config import TrainConfig, read_overrides
from s2tf_edge.words import json_text

GOLDEN: Final = Path(__file__).parent / "golden/version_1"
EXIT_CODES: Final = {1, 2, 3, 4, 5, 6, 7, 8, 9}
MAX_CPU_SECONDS: Final = 10.0
"""Of one file: hundreds of times what one takes, and far less than work that grows with the square of its size."""
MAX_MEMORY_BYTES: Final = 2**29
"""That the process may grow by over all examples of a file."""

_VALUES: Final = (
    *("null", "true", "false", "0", "-1", "1", "2", "1.5", "-0.0", "1e308", "1e-320", "1e999", "-1e999", "NaN"),
    *("Infinity", "-Infinity", str(2**31), str(2**63), str(2**64), "1" + "0" * 400, "9" * 5000),
    *('""', '" "', '"1"', '"../x"', '".."', '"/dev/zero"', '"model.onnx"', '"{0}%s{x"', '"[bold]red[/nothing]"'),
    *(r'"\u001b]0;x\u0007\u009b2J"', r'"\u202egpj"', r'"\ud800"', r'"a\u0000b"', r'"\u2028\u0085\r\n\n"', '"é走る🏃"'),
    *(f'"{"x" * 9000}"', f'"{"1 2 " * 9000}"', '"' + r"\u001b'" * 3000 + '"', f'"{"`out`" * 90}"'),
    *("[]", "{}", "[null]", "[[]]", "[{}]", "[1,1,1]", '["a","a"]', f"[{'0,' * 9000}0]", "[" * 99 + "]" * 99),
    *("[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000, r'{"\u001b[2J":1}', '{"shape":[]}'),
    *('{"a":{"b":"c"}}', f'{{"{"k" * 5000}":1}}', "{" + ",".join(f'"key {i}":0' for i in range(999)) + "}"),
)
"""JSON that stands in place of what should."""
_LINES: Final = (
    *("", " ", "#", "a.avi", "a.avi 1", "a.avi,1", "run/a.avi 1", "run/a.avi 99999999999", "a.avi " + "9" * 5000),
    *("label,youtube_id,time_start,time_end,split", 'run,"a', "run,a,1e999,nan,train", ",,,,", "1 Run", "0 run"),
    *(
        "1",
        "-1 x",
        "x" * 9000,
        "x" * 9000 + ".avi 1",
        "1 2 " * 9000,
        "\x1b]0;x\x07.avi 1",
        "\u202egpj.avi a",
        "a\x00.avi",
    ),
    *(
        "../../a.avi run",
        "/dev/zero",
        "/dev/zero.avi 1",
        "rtsp://u:p@h/",
        "²",
        "٣ x",
        "a.avi ²",
        "a.avi ٣",
        "\u2028",
        "\r",
    ),
    *("a = 1", "[table]", "lr = nan", "epochs = 1e999", "epochs = -1", "model = 1", f"lr = 1{'0' * 400}", "lr = inf"),
    *(f"epochs = {'9' * 5000}", f"a = {'[' * 5000}{']' * 5000}", f'"{"k" * 9000}" = 1', 'model = "\\u001b[2J"'),
    *(
        "lr = 1979-05-27",
        "lr = []",
        "lr = {a=1}",
        'freeze = "("',
        "seed = true",
        f'model = "{"1 2 " * 9000}"',
        "seed=1.0",
    ),
)
"""Lines that stand in place of those that should."""


@dataclass(frozen=True)
class Reader:
    """One kind of file."""

    name: str
    """Where it lies in the folder of ``world``."""
    valid: tuple[str, ...]
    """Whole documents."""
    read: Callable[[Path], object]
    """All that commands do with it before anything is run."""
    is_refused: bool = False
    """Whether a whole one is refused too, in other words."""

    is_json_lines: bool = False
    """Whether each line is a document of its own."""

    @property
    def is_json(self) -> bool:
        return self.valid[0].startswith(("{", "[")) and not self.is_json_lines


def _read_artifact(path: Path) -> object:
    is_artifact(str(path.parent))
    return read_facts(path.parent), open_session(path.parent).info


def _read_engine(path: Path) -> object:
    """Whether it can be built anew is seen before TensorRT is looked for, which is not here."""
    with suppress(MissingExtraError, BuildError):
        plan_export(path.parent, ExportOptions(target="trt"))
    read_expected(path.parent, read_meta(path.parent))
    return _read_artifact(path)


def _read_served(path: Path) -> object:
    """What Triton is told of an artifact is whole, whatever its labels and names are."""
    model = served_model(path.parent, read_meta(path.parent))
    text_format.Parse(config_text(model, "a"), model_config_pb2.ModelConfig())
    assert len(labels_text(model).split("\n")) == len(model.meta.labels) + 1
    return (readme_text(model, "a") + labels_text(model)).encode()


def _read_sides(data: str) -> object:
    """Every side of a data set that comes split."""
    found: list[object] = []
    for side in SIDES:
        with suppress(S2TFError):
            found.append(open_videos(data, use=side))
    return found or open_videos(data)


def _read_settings(path: Path) -> object:
    return TrainConfig(**{"model": "r3d_10"} | read_overrides(path))


def _read_report(path: Path) -> object:
    found, other = read_report(path), read_report(path.parent / "other.json")
    merged = merge_reports([other, found])
    with suppress(S2TFError):
        return json_text([merged.to_dict(), compare_reports(other, found).to_dict()])
    return merged.busy


def _meta_that_steps() -> str:
    """The golden artifact as one step of it would be."""
    meta = json.loads((GOLDEN / "tiny_onnx_fp32/meta.json").read_text("utf-8"))
    spec = StepSpec(hop=1, receptive_field=4, warm_up=4, states=(StateSpec(name="stem", slots=2, shape=(3, 4, 4)),))
    meta["inputs"] = {"frames": {"shape": [1, 3, 16, 16], "dtype": "float32"}}
    return json.dumps(meta | spec.to_dict(1))


def _read_archive(path: Path) -> object:
    """All that a run which goes on reads of what stands in its folder, wherever in it the file lies."""
    folder = path.parent.parent
    settled = SettledList(folder / "job")
    settled.settle(())
    pieces = [piece.number for piece in settled.read_pieces()]
    Job(artifact_sha256="0" * 64, options={"topk": 5, "hop": None}).check(folder)
    return pieces, json_text(ArchiveTally.of_shard(Shards(folder, "jsonl"), 0).to_dict())


def _golden(name: str) -> str:
    return (GOLDEN / name).read_text("utf-8")


_CLIP: Final = {"frames": 8, "stride": 2, "fps": 25, "resize_short_side": 32, "crop": 32, "mean": [0.5] * 3}
_CLIP_FILES: Final = (
    _CLIP | {"std": [0.5] * 3, "labels": ["a", "b"], "input": "clip", "output": "logits", "note": "x"},
    _CLIP | {"std": [0.5] * 3, "labels": "names.txt", "layout": "NTHWC", "channels": "BGR", "views": 2},
    _CLIP
    | {"std": [1] * 3, "labels": ["a"], "inputs": {"slow": {"every": 4}, "fast": {"frames": 8, "layout": "NCTHW"}}},
)
_CALIBRATION: Final = {"schema_version": 1, "method": "minmax", "clips": [{"video": "a.avi", "at": 0.5, "sha256": "0"}]}
_ROW: Final = {"name": "a", "said": ["run", "walk"], "precision": "fp32", "runtime": {"backend": "onnx"}, "top1": 50.0}
_TIMES: Final = {"p50_ms": 3.0, "p50_ms_low": 2.9, "p50_ms_high": 3.1, "peak_memory_mb": 90.0, "size_mb": 1.0}
_REPORT: Final = {
    "schema_version": 1,
    "data": "clips",
    "created": "2026-01-01",
    "machine": {"cpu": "x", "cores": 2},
    "surroundings": {"busy": False},
    "videos": [{"name": "1", "true": "run"}, {"name": "2", "true": "walk"}],
    "artifacts": [_ROW | _TIMES, {"name": "b", "skipped": "no GPU"}],
}
_TOML: Final = 'model = "r3d_10"\nepochs = 3\nlr = 0.1\nseed = 7\nfreeze = "stem"\n'
_STREAM_TOML: Final = (
    'artifact = "artifact"\nsource = ["a.avi"]\nmax_age = 1.5\nhop = 2\nroi = ["0,0,1,1:x"]\ntoken = "t"\n'
)
_JOB: Final = {
    "schema_version": 1,
    "artifact": "model",
    "artifact_sha256": "0" * 64,
    "options": {"topk": 5, "hop": None},
}
_SETTLED: Final = (
    '{"piece": 0, "address": "/a.avi", "name": "a.avi"}\n{"piece": 1, "address": "s3://b/c.avi"}\n{"end": 2}\n'
)
_DONE: Final = {"source": "a.avi", "status": "gone", "error": "missing", "seconds": 0.0, "frames": 0, "windows": 0}
_ACTION: Final = {"label": "run", "t_start": 0.0, "t_end": 1.5}
_KINETICS: Final = "label,youtube_id,time_start,time_end,split\nrun,a,0,10,train\nwalk,b,1,2,train\n"

FILES: Final = (
    Reader("artifact/meta.json", (_golden("tiny_onnx_fp32/meta.json"), _meta_that_steps()), _read_artifact),
    Reader("engine/meta.json", (_golden("tiny_trt_fp16/meta.json"),), _read_engine, is_refused=True),
    Reader(
        "served/meta.json",
        (_golden("tiny_onnx_fp32/meta.json"), _meta_that_steps(), _golden("tiny_trt_fp16/meta.json")),
        _read_served,
    ),
    Reader(
        "models/artifact/config.pbtxt",
        ('name: "a"\nparameters {\n  key: "s2tf_interface"\n  value { string_value: "' + "0" * 64 + '" }\n}\n',),
        lambda path: plan_publication(path.parents[2] / "artifact", path.parents[1]),
        is_refused=True,
    ),
    Reader("artifact/verify.json", (_golden("tiny_onnx_fp32/verify.json"),), lambda path: read_facts(path.parent)),
    Reader("artifact/calib.json", (json.dumps(_CALIBRATION),), lambda path: read_facts(path.parent)),
    Reader("clip.json", tuple(map(json.dumps, _CLIP_FILES)), read_clip_file),
    Reader("labels.json", ('["run", "walk"]', '{"run": 0, "\\"walk\\"": 1}'), read_labels),
    Reader("labels.txt", ("run\nwalk\n", "1 run\n2 walk\n"), read_labels),
    Reader("report.json", (json.dumps(_REPORT),), _read_report),
    Reader("weights.index.json", ('{"weight_map": {"a": "1.bin", "b": "2.bin"}}',), check_published, is_refused=True),
    Reader("list.txt", ("a.avi 1\nrun/a.avi 0\n", "# x\na.avi\n", "a.avi,run\n"), open_videos),
    Reader("list.csv", ("a.avi,run\n",), open_videos),
    Reader(
        "kinetics/train.csv", (_KINETICS,), lambda path: (open_videos(path), _read_sides(f"kinetics:{path.parent}"))
    ),
    Reader("ucf/trainlist01.txt", ("run/a.avi 1\n",), lambda path: _read_sides(f"ucf101:{path.parent}?split=1")),
    Reader("ucf/classInd.txt", ("1 run\n2 walk\n",), lambda path: _read_sides(f"ucf101:{path.parent}?split=1")),
    Reader("hmdb/run_test_split1.txt", ("a.avi 1\nb.avi 2\n",), lambda path: _read_sides(f"hmdb51:{path.parent}")),
    Reader("streams.txt", ("a.avi\nrun/a.avi\n",), lambda path: parse_source(str(path))),
    Reader("archive/job/job.json", (json.dumps(_JOB),), _read_archive),
    Reader("archive/job/sources-00000.jsonl", (_SETTLED,), _read_archive, is_json_lines=True),
    Reader("archive/videos/0000000.jsonl", (json.dumps(_DONE) + "\n",), _read_archive),
    Reader("archive/events/0000000.jsonl", (json.dumps(_ACTION) + "\n",), _read_archive),
    Reader("train.toml", (_TOML,), _read_settings),
    Reader("stream.toml", (_STREAM_TOML,), lambda path: plan_stream(merge_flags(StreamFlags(config=path), ()))),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what lies beside the files, whole."""
    folder = tmp_path_factory.mktemp("world")
    shutil.copytree(GOLDEN / "tiny_onnx_fp32", folder / "artifact")
    shutil.copytree(GOLDEN / "tiny_trt_fp16", folder / "engine")
    for name in ("served", "models/artifact"):
        (folder / name).mkdir(parents=True)
    for name in ("a.avi", "run/a.avi", "kinetics/a.avi", "kinetics/b.avi", "ucf/run/a.avi", "hmdb/run/a.avi"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"RIFF----AVI ")
    for name, text in {
        "names.txt": "a\nb\n",
        "other.json": json.dumps(_REPORT),
        "ucf/trainlist01.txt": "run/a.avi 1\n",
        "ucf/testlist01.txt": "run/a.avi\n",
        "ucf/classInd.txt": "1 run\n2 walk\n",
        "archive/job/job.json": json.dumps(_JOB),
        "archive/job/sources-00000.jsonl": _SETTLED,
        "archive/videos/0000000.jsonl": json.dumps(_DONE) + "\n",
        "archive/events/0000000.jsonl": json.dumps(_ACTION) + "\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@functools.cache
def _places(text: str) -> tuple[tuple[Any, ...], ...]:
    """Where the values of a JSON document stand: the keys and indices that lead to each."""

    def walk(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        yield path
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, each in items:
            yield from walk(each, (*path, key))

    return tuple(walk(json.loads(text), ()))


# Strategies are made once: to make one for each draw takes longer than the draw.
_DRAWN: Final = st.one_of(st.text(), st.integers(), st.floats()).map(json.dumps)
_JSON: Final = st.one_of(st.sampled_from(_VALUES), st.sampled_from(_VALUES), _DRAWN)
_LINE: Final = st.one_of(st.sampled_from(_LINES), st.sampled_from(_LINES), st.text())
_DIGIT: Final = st.integers(0, 9)
_SOME: Final = st.integers(1, 3)
_BYTE: Final = st.integers(0, 255)
_PLACE: Final = st.integers(0, 2**16)
"""Of a value, line or byte, counted round and round."""
_END: Final = st.sampled_from(("\n", "\r\n", "\r"))
_CODE: Final = st.sampled_from(("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp037"))
_MARK: Final = st.sampled_from((b"", b"", codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF32_BE, b"\0"))
_TAIL: Final = st.binary(max_size=8)


@st.composite
def _edited(draw: st.DrawFn, valid: tuple[str, ...]) -> bytes:
    """A document of JSON with one to three values replaced, taken out or put in beside."""
    text = valid[draw(_DIGIT) % len(valid)]
    places, document, marks = _places(text), json.loads(text), dict[str, str]()
    for number in range(draw(_SOME)):
        mark = f"@{number}@"
        marks[f'"{mark}"'] = draw(_JSON)
        document = _replace(document, places[draw(_PLACE) % len(places)], mark, draw(_DIGIT))
    found = json.dumps(document)
    for quoted, value in marks.items():
        found = found.replace(quoted, value)
    return found.encode()


def _replace(document: Any, place: tuple[Any, ...], mark: str, how: int) -> Any:
    """The document with ``mark`` at a place; now and then without what stood there, or with a key like that one."""
    if not place:
        return mark if how == 0 else document
    parent = document
    # What was there may have been replaced before.
    with suppress(KeyError, IndexError, TypeError):
        for step in place[:-1]:
            parent = parent[step]
        if how == 1:
            del parent[place[-1]]
        elif how == 2 and isinstance(parent, dict):
            parent[f"{place[-1]}_"] = mark
        elif isinstance(parent, dict | list):
            parent[place[-1]] = mark
    return document


@st.composite
def _relined(draw: st.DrawFn, valid: tuple[str, ...]) -> bytes:
    """A text with lines replaced or put in."""
    lines = valid[draw(_DIGIT) % len(valid)].splitlines()
    for _ in range(draw(_SOME)):
        at = draw(_PLACE) % (len(lines) + 1)
        lines[at : at + draw(_DIGIT) % 2] = [draw(_LINE)]
    return draw(_END).join(lines).encode("utf-8", "surrogatepass")


@st.composite
def _damaged(draw: st.DrawFn, valid: tuple[str, ...]) -> bytes:
    """A document as a broken disk, a download that was cut off or another editor would leave it."""
    text = valid[draw(_DIGIT) % len(valid)]
    if draw(_DIGIT) < 3:
        return text.encode(draw(_CODE), "replace")
    data = bytearray(text.encode())
    for _ in range(draw(_SOME)):
        data[draw(_PLACE) % len(data)] = draw(_BYTE)
    return draw(_MARK) + bytes(data[: draw(_PLACE) % (2 * len(data))]) + draw(_TAIL)


def contents(file: Reader) -> st.SearchStrategy[bytes]:
    edited = _edited(file.valid) if file.is_json else _relined(file.valid)
    return st.one_of(edited, edited, edited, _damaged(file.valid))


def check_line(error: S2TFError) -> None:
    """Whether a command would end as it should."""
    assert error.exit_code in EXIT_CODES
    line = error_line("s2tf-export", str(error))
    assert len(line) <= 400
    assert not [letter for letter in line if unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"}]
    assert not set(line) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def _read(file: Reader, path: Path) -> None:
    find_kind(path)
    try:
        file.read(path)
    except S2TFError as error:
        check_line(error)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_whatever_a_file_holds_a_command_ends_in_one_short_line(file: Reader, world: Path) -> None:
    path, before = world / file.name, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    own = path.read_bytes() if path.exists() else None
    for text in file.valid:
        path.write_text(text)
        with pytest.raises(S2TFError, match=r"\w") if file.is_refused else nullcontext():
            file.read(path)

    @given(contents(file))
    def read(data: bytes) -> None:
        path.write_bytes(data)
        started = time.perf_counter()
        _read(file, path)
        # The clock on the wall costs nothing to ask, and says nothing of a busy machine.
        if time.perf_counter() - started > MAX_CPU_SECONDS:
            started = time.process_time()
            _read(file, path)
            assert time.process_time() - started < MAX_CPU_SECONDS

    try:
        read()
    finally:
        path.unlink()
        if own is not None:
            path.write_bytes(own)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MAX_MEMORY_BYTES
