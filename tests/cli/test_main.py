"""``s2tf``: the verbs are the console scripts, start at once, and are completed by shells."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from s2tf_edge import __version__
from s2tf_edge.cli import main as umbrella
from s2tf_edge.cli.verbs import UMBRELLA, VERBS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
Run = Callable[..., int]
HEAVY = ("torch", "openvino", "onnxruntime", "onnx", "numpy", "av", "lightning")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``s2tf`` in this process; gives its exit code."""

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", [UMBRELLA, *words])
        with pytest.raises(SystemExit, match=r"\d*") as ended:
            umbrella.main()
        return int(ended.value.code or 0)

    return run


@pytest.fixture
def complete(run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """What bash is offered for the last of the words, which is not yet finished."""

    def complete(*words: str) -> list[str]:
        monkeypatch.setenv("_S2TF_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "\n".join([UMBRELLA, *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        assert run() == 0
        return capsys.readouterr().out.split()

    return complete


def test_the_scripts_are_the_verbs() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    declared = {f"{UMBRELLA}-{name}": f"s2tf_edge.cli.{verb.module}:main" for name, verb in VERBS.items()}
    assert scripts == {UMBRELLA: "s2tf_edge.cli.main:main", **declared}


def test_the_readme_has_the_verbs() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `s2tf-(\w+)` \|", text, flags=re.MULTILINE) == list(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_its_command(verb: str) -> None:
    assert VERBS[verb].load().name == f"{UMBRELLA}-{verb}"


def test_the_help_lists_the_verbs(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    text = capsys.readouterr().out
    assert [verb for verb, each in VERBS.items() if f"{verb} " in text and each.help in text] == list(VERBS)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["export", "--help"], ["train", "--help"]])
def test_asking_waits_for_nothing_heavy(words: list[str]) -> None:
    lines = [
        "import sys",
        "from s2tf_edge.cli.main import main",
        f"sys.argv = ['s2tf', *{words}]",
        "try: main()",
        f"finally: print('loaded:', [name for name in {HEAVY} if name in sys.modules])",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["expotr"], "s2tf: error: there is no command 'expotr'; did you mean export?"),
        (["s2tf-stream"], "s2tf: error: there is no command 's2tf-stream'; did you mean stream?"),
        (["EVAL"], "s2tf: error: there is no command 'EVAL'; did you mean eval?"),
        (["42"], "s2tf: error: there is no command '42'; there are train, import, "),
    ],
)
def test_a_verb_that_there_is_not(run: Run, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    assert capsys.readouterr().err.startswith(said)


def test_a_command_is_named_as_it_was_typed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", "--version") == 0
    assert capsys.readouterr().out == f"s2tf export {__version__}\n"
    assert run("export", "--help") == 0
    text = capsys.readouterr().out
    assert "Usage: s2tf export " in text
    assert " s2tf export model.pt --target openvino" in text
    assert run("export", "--no-such-flag") == 2
    assert "Usage: s2tf export " in capsys.readouterr().err


def test_exit_codes_pass_through(run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.pt")
    assert run("export", gone, "--target", "onnx") == 9
    assert capsys.readouterr().err == f"s2tf export: error: {gone} does not exist\n"
    assert run("export", gone) == 2
    told = capsys.readouterr().err
    assert told.startswith("s2tf export: error: nothing says what to export for; give --target one of: openvino (")
    assert all(f" {name} (" in told for name in ("onnx", "trt", "trt-rtx"))


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("ex",), ["export"]),
        (("export", "--tar"), ["--target"]),
        (("export", "--target", ""), ["openvino", "onnx", "trt", "trt-rtx"]),
        (("export", "model.pt", "--precision", "f"), ["fp32", "fp16"]),
        (("export", "model.pt", "--form", "s"), ["step"]),
        (("train", "--model", "s2tf_x3d_"), ["s2tf_x3d_xs", "s2tf_x3d_s", "s2tf_x3d_m", "s2tf_x3d_l"]),
        (("import", "--format", "s"), ["s2tfnet", "slowfast"]),
        (("stream", "--policy", ""), ["auto", "every", "latest"]),
        # A file, which the shell itself completes.
        (("export", "mod"), []),
        (("nothing", "--tar"), []),
    ],
)
def test_a_shell_is_offered_what_fits(
    complete: Callable[..., list[str]], words: tuple[str, ...], offered: list[str]
) -> None:
    assert complete(*words) == offered


def test_completing_waits_for_nothing_heavy() -> None:
    # All flags of the two commands whose options have most to import.
    for verb in ("train", "export"):
        lines = [
            "import sys",
            "from s2tf_edge.cli.main import main",
            "sys.argv = ['s2tf']",
            "try: main()",
            f"finally: print('loaded:', [name for name in {HEAVY} if name in sys.modules])",
        ]
        asked = {"_S2TF_COMPLETE": "complete_bash", "COMP_WORDS": f"s2tf\n{verb}\n--mo", "COMP_CWORD": "2"}
        command = [sys.executable, "-c", "\n".join(lines)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | asked)
        assert done.stdout.splitlines()[-1] == "loaded: []", done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(shell: str, run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run("--show-completion", shell) == 0
    script = capsys.readouterr().out
    names = [UMBRELLA, *(f"{UMBRELLA}-{verb}" for verb in VERBS)]
    assert all(re.search(rf"\b{name}( |$)", script, flags=re.MULTILINE) for name in names)
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} to read it")
    (tmp_path / "script").write_text(script, encoding="utf-8")
    done = subprocess.run([shell, "-n", tmp_path / "script"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_bash_completes(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    script = tmp_path / "s2tf"
    script.write_text(f"#!{sys.executable}\nfrom s2tf_edge.cli.main import main\nmain()\n", encoding="utf-8")
    script.chmod(0o755)
    asked = (
        'eval "$(s2tf --show-completion bash)"; COMP_WORDS=(s2tf export --tar); COMP_CWORD=2; '
        '_s2tf_completion s2tf; echo "${COMPREPLY[@]}"'
    )
    path = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run([bash, "-c", asked], capture_output=True, text=True, check=False, env=os.environ | path)
    assert done.stdout == "--target\n", done.stderr
    assert sorted(tmp_path.iterdir()) == [script]
