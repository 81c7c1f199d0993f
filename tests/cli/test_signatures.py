"""Artifacts that are signed, and commands that take no others."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from s2tf_edge.models import create_model, save_model
from s2tf_edge.runtime.artifact import sign_artifact
from s2tf_edge.runtime.open import check_signed

pytestmark = pytest.mark.needs_ssh_keygen

STREAM = ("--source", "lavfi:testsrc=size=64x48:rate=25", "--duration", "1")


@dataclass(frozen=True)
class Ended:
    """A command that ran in this process."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(name: str, *arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", [f"s2tf-{name}", *map(str, arguments)])
        code = 0
        try:
            importlib.import_module(f"s2tf_edge.cli.{name}").main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Ended(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)
    return path


@pytest.fixture(scope="module")
def signers(key: Path) -> Path:
    path = key.with_name("allowed_signers")
    path.write_text(f"me@example.com {key.with_name('key.pub').read_text()}")
    return path


@pytest.fixture
def artifact(small_artifact: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "small é"
    shutil.copytree(small_artifact, folder)
    return folder


@pytest.fixture
def signed(artifact: Path, key: Path) -> Path:
    sign_artifact(artifact, key)
    return artifact


def test_a_signed_artifact_streams(run: Run, signed: Path, signers: Path) -> None:
    done = run("stream", signed, *STREAM, "--require-signature", signers)
    assert done.code == 0, done.err
    assert f"{signed / 'meta.json'} is signed by me@example.com" in done.err


def test_a_signed_artifact_is_tested_and_reported(run: Run, signed: Path, signers: Path, tmp_path: Path) -> None:
    done = run("evaluate", signed, "--data", "synthetic?clips=8", "--require-signature", signers, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["n"] == 8
    words = ("--data", "synthetic?clips=8", "--duration", "0.1", "--warmup", "0", "--out", tmp_path / "report")
    done = run("report", signed, *words, "--require-signature", signers, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["artifacts"][0]["skipped"] is None


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("stream", STREAM),
        ("evaluate", ("--data", "synthetic?clips=4")),
        ("report", ("--data", "synthetic?clips=4")),
        ("export", ("--target", "openvino")),
    ],
)
def test_no_command_takes_an_unsigned_one(
    command: str, words: tuple[str, ...], run: Run, artifact: Path, signers: Path, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "out") if command in {"report", "export"} else ()
    done = run(command, artifact, *words, *out, "--require-signature", signers)
    assert done.code == 9
    assert "is not signed: there is no meta.json.sig; have it signed, or leave out --require-signature" in done.err
    assert not (tmp_path / "out").exists()
    save_model(tmp_path / "model.pt", create_model("r3d_10?width=0.0625", num_classes=2, frames=4, size=32))
    done = run(command, tmp_path / "model.pt", *words, *out, "--require-signature", signers)
    assert done.code == 9
    assert "has no signature, as artifact folders may" in done.err


def _change_labels(folder: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text("utf-8"))
    meta["labels"].reverse()
    (folder / "meta.json").write_text(json.dumps(meta), "utf-8")


def _change_network(folder: Path) -> None:
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"\0")


def _add_file(folder: Path) -> None:
    (folder / "calib.json").write_text("{}")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_change_labels, "is not one of"),
        (_change_network, "model.onnx has changed since it was exported"),
        (_add_file, "holds files that its meta.json does not name (calib.json); remove them"),
    ],
)
def test_an_artifact_that_changed_after_signing_is_refused(
    change: Callable[[Path], None], why: str, run: Run, signed: Path, signers: Path
) -> None:
    change(signed)
    done = run("stream", signed, *STREAM, "--require-signature", signers)
    assert done.code == 9
    assert why in done.err


def test_nothing_is_read_of_an_artifact_before_its_signature_holds(run: Run, signed: Path, signers: Path) -> None:
    (signed / "meta.json").write_text("[" * 100_000)
    done = run("stream", signed, *STREAM, "--require-signature", signers)
    assert done.code == 9
    assert "the signature of" in done.err


def test_a_settings_file_may_ask_for_it(run: Run, signed: Path, signers: Path, tmp_path: Path) -> None:
    shutil.copy(signers, tmp_path / "signers")
    config = tmp_path / "stream.toml"
    config.write_text(f'artifact = "{signed.name}"\nrequire_signature = "signers"\n')
    assert run("stream", "--config", config, *STREAM).code == 0
    (signed / "meta.json.sig").unlink()
    assert run("stream", "--config", config, *STREAM).code == 9


def test_an_artifact_that_lies_there_is_signed(run: Run, artifact: Path, key: Path, signers: Path) -> None:
    done = run("export", artifact, "--sign", key)
    assert done.code == 0, done.err
    assert run("stream", artifact, *STREAM, "--require-signature", signers).code == 0
    _change_network(artifact)
    done = run("export", artifact, "--sign", key)
    assert done.code == 9
    assert "has changed since it was exported" in done.err


@pytest.mark.parametrize("words", [("--dry-run",), ()])
def test_what_nobody_trusted_signed_is_not_signed_where_a_signature_is_asked_for(
    words: tuple[str, ...], run: Run, artifact: Path, key: Path, signers: Path, tmp_path: Path
) -> None:
    asked = ("--sign", key, "--require-signature", signers, *words)
    done = run("export", artifact, *asked)
    assert done.code == 9
    assert "is not signed: there is no meta.json.sig" in done.err
    assert not (artifact / "meta.json.sig").exists()
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", other], check=True)
    sign_artifact(artifact, other)
    before = (artifact / "meta.json.sig").read_bytes()
    done = run("export", artifact, *asked)
    assert done.code == 9
    assert "nobody on the list made it" in done.err
    assert (artifact / "meta.json.sig").read_bytes() == before
    sign_artifact(artifact, key)
    assert run("export", artifact, *asked).code == 0


def test_a_dry_run_refuses_what_cannot_be_signed(run: Run, artifact: Path, key: Path, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"")
    save_model(tmp_path / "model.pt", create_model("r3d_10?width=0.0625", num_classes=2, frames=4, size=32))
    for model in (tmp_path / "net.onnx", tmp_path / "model.pt"):
        assert run("export", model, "--sign", key, "--dry-run").code == 9
        assert run("export", model, "--sign", key).code == 9
    done = run("export", artifact, "--sign", key, "--dry-run")
    assert (done.code, done.out) == (0, f"would sign {artifact}\n")
    _add_file(artifact)
    assert run("export", artifact, "--sign", key, "--dry-run").code == 9


def test_no_clips_are_described_of_what_nobody_trusted_signed(
    run: Run, artifact: Path, key: Path, signers: Path
) -> None:
    done = run("export", artifact, "--describe", "--require-signature", signers)
    assert done.code == 9
    assert "is not signed: there is no meta.json.sig" in done.err
    done = run("export", artifact / "model.onnx", "--describe", "--require-signature", signers)
    assert done.code == 9
    assert "has no signature, as artifact folders may" in done.err
    sign_artifact(artifact, key)
    done = run("export", artifact, "--describe", "--require-signature", signers)
    assert done.code == 0, done.err
    assert json.loads(done.out)["frames"]


@pytest.mark.parametrize("words", [(), ("--target", "openvino")])
def test_a_key_that_is_not_there_is_missed_at_once(words: tuple[str, ...], run: Run, artifact: Path) -> None:
    done = run("export", artifact, *words, "--sign", artifact / "gone")
    assert done.code == 9
    assert "give the key to sign with" in done.err


@pytest.mark.slow
def test_an_export_is_signed_and_may_be_made_again(run: Run, key: Path, signers: Path, tmp_path: Path) -> None:
    model, out = tmp_path / "model.pt", tmp_path / "out"
    save_model(model, create_model("r3d_10?width=0.0625", num_classes=2, frames=4, size=32))
    words = ("--target", "onnx", "--out", out)
    done = run("export", model, *words, "--sign", key)
    assert done.code == 0, done.err
    assert f"signed: {out / 'meta.json.sig'}" in done.err
    assert "--sign" not in (out / "reproduce.sh").read_text()
    check_signed(out, signers)
    # What is made of a signed one is not signed itself.
    made = run("export", out, "--target", "openvino", "--out", tmp_path / "ir", "--require-signature", signers)
    assert made.code == 0, made.err
    assert not (tmp_path / "ir" / "meta.json.sig").exists()
    assert run("export", model, *words).code == 0
    assert not (out / "meta.json.sig").exists()


def test_what_cannot_be_signed_at_the_end_is_kept(run: Run, key: Path, tmp_path: Path) -> None:
    model, out = tmp_path / "model.pt", tmp_path / "out"
    save_model(model, create_model("r3d_10?width=0.0625", num_classes=2, frames=4, size=32))
    locked = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", locked], check=True)
    done = run("export", model, "--target", "onnx", "--out", out, "--sign", locked)
    assert done.code == 9
    assert "ssh-add" in done.err
    assert run("export", out, "--sign", key).code == 0


def test_ssh_keygen_and_sha256sum_do_the_same_by_hand(run: Run, artifact: Path, key: Path, signers: Path) -> None:
    """The lines of docs/security.md."""
    page = (Path(__file__).parents[2] / "docs/security.md").read_text("utf-8")
    sign, check = (block.split("```")[0] for block in page.split("```sh\n# by hand")[1:])
    environment = {"KEY": str(key), "DIR": str(artifact), "SIGNERS": str(signers), "PATH": "/usr/bin:/bin"}

    def shell(script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["sh", "-euc", script], env=environment, capture_output=True, text=True, check=False)

    assert shell(sign.partition("\n")[2]).returncode == 0
    assert run("stream", artifact, *STREAM, "--require-signature", signers).code == 0
    done = shell(check.partition("\n")[2])
    assert done.returncode == 0, done.stderr
    assert 'Good "s2tf-edge" signature for me@example.com' in done.stdout
    assert "model.onnx: OK" in done.stdout
    _change_network(artifact)
    assert shell(check.partition("\n")[2]).returncode != 0
    _change_labels(artifact)
    assert "model.onnx: OK" not in shell(check.partition("\n")[2]).stdout
