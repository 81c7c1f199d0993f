"""What a service is installed from: the unit, the Dockerfiles, and the example of the page about it."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from s2tf_edge.cli import stream_config
from s2tf_edge.cli.stream_config import merge_flags
from s2tf_edge.cli.stream_flags import StreamFlags
from s2tf_edge.cli.stream_plan import plan_stream
from s2tf_edge.runtime.streaming.records import Start, Summary
from s2tf_edge.runtime.web.sink import WebSink
from s2tf_edge.spec import ClipSpec

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "deploy/systemd/s2tf-stream@.service"
DOCKERFILES = sorted((ROOT / "deploy/docker").iterdir())
HADOLINT = Path(sys.executable).with_name("hadolint")
Verify = Callable[[str], str]


@pytest.fixture
def verify(tmp_path: Path) -> Verify:
    """What systemd-analyze says of a unit; its exit code is 0 for what it only ignores."""
    program = tmp_path / "s2tf-stream"
    program.touch(mode=0o755)

    def verify(text: str) -> str:
        unit = tmp_path / "s2tf-stream@door.service"
        unit.write_text(text.replace("/opt/s2tf/bin/s2tf-stream", str(program)), encoding="utf-8")
        done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    return verify


@pytest.mark.needs_systemd
def test_systemd_takes_the_unit_as_it_is(verify: Verify) -> None:
    assert verify(UNIT.read_text(encoding="utf-8")) == ""


@pytest.mark.needs_systemd
@pytest.mark.parametrize(
    ("old", "new"), [("WatchdogSec=60", "WatchdogSex=60"), ("Type=notify", "Type=notfy"), ("=strict", "=strickt")]
)
def test_a_slip_in_the_unit_would_be_found(verify: Verify, old: str, new: str) -> None:
    text = UNIT.read_text(encoding="utf-8")
    assert text.count(old) == 1
    assert "ignoring" in verify(text.replace(old, new))


def test_the_unit_gives_flags_that_there_are() -> None:
    (line,) = re.findall(r"^ExecStart=(.*)$", UNIT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    flags = {word[2:].replace("-", "_") for word in line.split() if word.startswith("--")}
    assert flags
    assert flags <= set(StreamFlags.__dataclass_fields__)


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint, of the development packages, is not installed")
@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing_in_the_dockerfiles(path: Path) -> None:
    def lint(text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([HADOLINT, "-"], input=text, capture_output=True, text=True, check=False)

    text = path.read_text(encoding="utf-8")
    done = lint(text)
    assert (done.returncode, done.stdout) == (0, "")
    assert "DL3003" in lint(f"{text}RUN cd /tmp\n").stdout


def test_images_get_the_wheel_and_nothing_else() -> None:
    copied = set()
    for path in DOCKERFILES:
        copied |= {
            word
            for line in re.findall(r"^COPY (?!--from)(.*) \S+$", path.read_text(), re.MULTILINE)
            for word in line.split()
        }
    assert copied == {"constraints.txt", "dist/s2tf_edge-*.whl"}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()[1:]
    assert ignored == ["*", *(f"!{name}" for name in sorted(copied))]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_the_health_check_asks_the_page(path: Path) -> None:
    (found,) = re.findall(r"^HEALTHCHECK .*?CMD (\[.*?\])$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    _, *words = json.loads(found)
    values = {
        "artifact": "a",
        "network": "n",
        "target": "onnx",
        "precision": "fp32",
        "policy": "latest",
        "smooth": "none",
    }
    start = Start(clip=ClipSpec(frames=4, size=16), labels=3, hop=1, threshold=0.3, sources=("gate",), **values)  # type: ignore[arg-type]
    facts = {"frames_in": 1, "windows": 1, "events": 0, "gaps": 0, "drops": {}, "stages_ms": {}, "sources": ()}
    summary = Summary(seconds=1.0, interrupted=False, **facts)  # type: ignore[arg-type]
    with closing(WebSink("127.0.0.1:0", token="long-enough")) as page:
        page.start()
        words = [word.replace("8080", page.url.split(":")[2].strip("/")) for word in words]

        def ask(token: str) -> int:
            line = [sys.executable, *words]
            return subprocess.run(line, env={"S2TF_TOKEN": token}, capture_output=True, check=False).returncode

        page.write(start)
        assert ask("long-enough") == 0
        assert ask("wrong-token") == 1
        page.write(summary)
        assert ask("long-enough") == 1


def _example() -> str:
    page = (ROOT / "docs/service.md").read_text(encoding="utf-8")
    return page.split("```toml\n")[1].split("```")[0]


def test_the_example_has_every_key_and_can_be_begun(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(_example(), encoding="utf-8")
    flags = merge_flags(StreamFlags(config=path), set())
    assert flags.name == ["front door", "yard", "hall"]
    assert plan_stream(flags).outputs.serve == "127.0.0.1:8080"
    allowed = {field.name for field in dataclasses.fields(StreamFlags)} - stream_config._NO_KEYS
    assert set(re.findall(r"^(?:# )?(\w+) = ", _example(), re.MULTILINE)) == allowed
