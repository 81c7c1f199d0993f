"""``s2tf-stream`` as a service: it begins anew with what its file says, and tells its manager how it is."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import pytest

from s2tf_edge.cli import stream as command
from s2tf_edge.runtime.session import Session, SessionOptions

LIVE = "lavfi:testsrc=size=64x48:rate=25"
_PATIENCE_SECONDS: Final = 300


class Manager(Protocol):
    address: str

    def next(self) -> list[str]: ...


class Service:
    """The command in a process of its own, under a service manager."""

    def __init__(self, config: Path, manager: Manager) -> None:
        code = "from s2tf_edge.cli.stream import main; main()"
        words = [sys.executable, "-c", code, "--config", str(config)]
        environment = os.environ | {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "600000000"}
        self._manager = manager
        self.process = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, encoding="utf-8")

    def wait_for(self, line: str) -> None:
        """Waits until the manager is told so."""
        while line not in self._manager.next():
            pass

    def reload(self) -> None:
        """As ``systemctl reload`` does it; returns once it is ready again."""
        self.process.send_signal(signal.SIGHUP)
        self.wait_for("RELOADING=1")
        self.wait_for("READY=1")


@pytest.fixture
def serve(manager: Manager, tmp_path: Path) -> Iterator[Callable[[], Service]]:
    services: list[Service] = []

    def serve() -> Service:
        services.append(Service(tmp_path / "stream.toml", manager))
        return services[-1]

    yield serve
    for service in services:
        service.process.kill()
        service.process.communicate()


@pytest.fixture
def configure(small_artifact: Path, tmp_path: Path) -> Callable[..., None]:
    """Writes the file."""

    def configure(**values: object) -> None:
        plain: dict[str, object] = {"artifact": str(small_artifact), "source": [LIVE], "jsonl": "out.jsonl"}
        plain |= {"reload_on_hangup": True, "log": "json"} | values
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in plain.items()]
        (tmp_path / "stream.toml").write_text("".join(lines), encoding="utf-8")

    return configure


def _records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_it_begins_anew_with_what_its_file_says_and_a_broken_one_changes_nothing(
    serve: Callable[[], Service], configure: Callable[..., None], tmp_path: Path
) -> None:
    configure(name=["one"])
    service = serve()
    service.wait_for("READY=1")
    configure(name=["two"], topk=2.5)
    service.reload()
    configure(name=["three"], artifact="gone")
    service.reload()
    configure(name=["four"])
    service.reload()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        # What only shows when it begins.
        configure(name=["five"], serve=f"127.0.0.1:{taken.getsockname()[1]}")
        service.reload()
    configure(name=["six"], reload_on_hangup=False)
    service.reload()
    service.process.send_signal(signal.SIGHUP)
    service.wait_for("STOPPING=1")
    _, err = service.process.communicate(timeout=_PATIENCE_SECONDS)
    lines = [json.loads(line) for line in err.splitlines()]
    told = [line["message"] for line in lines if line["level"] != "info"]
    assert len(told) == 4
    assert "topk must be of type int, got 2.5; the stream goes on as it was" in told[0]
    assert "gone does not exist" in told[1]
    assert told[2].endswith("; the stream begins again as it was")
    assert told[3] == "interrupted"
    assert service.process.returncode == 130
    records = _records(tmp_path / "out.jsonl")
    starts = [record["sources"] for record in records if record["type"] == "start"]
    assert starts == [["one"], ["four"], ["four"], ["six"]]
    assert [record["type"] for record in records].count("summary") == 4
    assert records[-1]["type"] == "summary"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Runs the console script; gives its exit code and stderr."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["s2tf-stream", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command.main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return run


Run = Callable[..., tuple[int, str]]


def test_a_manager_is_told_of_a_stream_that_ends(
    run: Run, manager: Manager, small_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    assert run(small_artifact, LIVE, "--duration", "0.5", "--jsonl", os.devnull)[0] == 0
    messages = [manager.next()]
    while messages[-1] != ["STOPPING=1"]:
        messages.append(manager.next())
    assert ["READY=1"] in messages
    # Nobody asked for signs of life.
    assert not any("WATCHDOG=1" in message for message in messages)


def test_lines_are_added_to_those_of_the_last_run(run: Run, small_artifact: Path, tmp_path: Path) -> None:
    arguments = (small_artifact, LIVE, "--duration", "0.5")
    for target in ("out.jsonl", "folder/"):
        for _ in range(2):
            assert run(*arguments, "--append", "--jsonl", f"{tmp_path}/{target}")[0] == 0
    for path in (tmp_path / "out.jsonl", *(tmp_path / "folder").iterdir()):
        types = [record["type"] for record in _records(path)]
        assert (types.count("start"), types.count("summary"), types[-1]) == (2, 2, "summary")


def test_where_a_hangup_is_to_reload_there_is_a_file(run: Run, small_artifact: Path) -> None:
    code, err = run(small_artifact, LIVE, "--reload-on-hangup")
    assert (code, err.count("\n")) == (2, 1)
    assert "--reload-on-hangup reads a file again, and there is none; give --config FILE.toml" in err


def test_a_saved_video_is_not_saved_over(run: Run, configure: Callable[..., None], tmp_path: Path) -> None:
    configure(save="out.mp4", log="text")
    code, err = run("--config", tmp_path / "stream.toml")
    assert code == 2
    assert "--reload-on-hangup would save the next video over the one before; leave out --save" in err


def test_the_file_is_not_written_over(run: Run, configure: Callable[..., None], tmp_path: Path) -> None:
    configure(jsonl="stream.toml", log="text")
    code, err = run("--config", tmp_path / "stream.toml")
    assert code == 2
    assert "would overwrite" in err


def test_a_hangup_before_the_network_is_ready_is_kept(
    run: Run, configure: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first hangup comes as the network is opened, the end as it is opened again."""
    opened: list[Path] = []
    open_session = command._open_session

    def open_and_interrupt(artifact: Path, run_on: SessionOptions) -> Session:
        opened.append(artifact)
        signal.raise_signal(signal.SIGHUP if len(opened) == 1 else signal.SIGTERM)
        return open_session(artifact, run_on)

    monkeypatch.setattr(command, "_open_session", open_and_interrupt)
    configure(log="text")
    code, err = run("--config", tmp_path / "stream.toml")
    assert (code, len(opened)) == (130, 2)
    assert "beginning anew, as its file says now" in err
