"""Every command on every page: its options exist, and it runs on made files, or a table says why it cannot run here."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from s2tf_edge.cli.app import command_line_of

ROOT = Path(__file__).parents[2]
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PAGES = {path.relative_to(ROOT).as_posix(): path for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]}
SCRIPTS = dict(re.findall(r'^(s2tf-[a-z]+) = "([\w.]+):main"$', PROJECT, flags=re.MULTILINE))
OTHERS = {
    *(
        "cp",
        "curl",
        "docker",
        "echo",
        "install",
        "journalctl",
        "jq",
        "ls",
        "python",
        "python3",
        "scp",
        "sh",
        "systemctl",
    ),
    *("trtexec", "useradd"),
}
"""Programs of others that pages call."""
OTHERS_FLAGS = {
    *("--build-arg", "--head", "--logdir", "--no-healthcheck", "--no-python", "--num-cpus", "--platform", "--signal"),
    *("--system-site-packages", "--show-completion"),
}
"""Flags of programs of others that pages speak of, and that of ``s2tf`` itself."""
OWN_FLAGS = {
    flag
    for folder in ("benchmarks", "tools")
    for path in (ROOT / folder).glob("*.py")
    for flag in re.findall(r'"(--[a-z][\w-]*)"', path.read_text(encoding="utf-8"))
}
"""Flags of scripts that are no commands."""

NOT_RUN = {
    r"^make (demo|test|test-all|test-arm|fuzz|docs)$": "takes minutes or an hour, or runs these tests",
    r"^make wheel$|^python3 -m venv|pip install": "installs packages: tests/test_wheel.py does, without the commands",
    r"^scp ": "needs a second machine",
    r"--camera 0|--source 0\b": "needs a camera",
    r"s3://|https://example\.com/archive": "needs a store in a network; tests/runtime/archives have own ones",
    r"--ray 10\.0\.0\.1": "needs a cluster; tests/runtime/archives/test_ray.py has one of this machine",
    r"rtsp://": "needs a camera in a network; tests/cli/test_stream_sources.py has a server",
    r"--config door\.toml": "needs the cameras of the file; tests/cli/test_stream_config.py has made ones",
    r"^docker |^systemctl |^journalctl |^useradd |^install |^cp deploy/": "installs a service; tests/test_deploy.py",
    r"^tools/on_gpu\.sh|build/on_gpu": "needs a GPU of NVIDIA; tests/tools/test_on_gpu.py has what does not",
    r"--show-completion": "writes settings of a shell; tests/cli/test_main.py reads them",
    r"^s2tf expotr": "is a mistake, of which tests/cli/test_main.py has the answer",
    r"\.ssh/": "needs a key; tests/cli/test_signatures.py makes some",
    r"^curl ": "follows the stream of a camera; tests/runtime/web follow one of made records",
    r" --show$": "needs a display; tests/runtime/sinks have a made one",
    r"^sh model_trt_fp16/build\.sh$|^trtexec ": "needs TensorRT and a GPU of NVIDIA",
    r"^\.venv/bin/|^TORCHVISION_SITE=": "runs the tests, or needs torchvision, which is no dependency",
    r"^torchrun --nnodes 2 ": "needs a second machine; tests/training/test_processes.py has two processes",
    r"^python benchmarks/": "trains for hours; make test checks that the script is there",
    r"…": "is no whole command",
}
"""What is read alone, by a pattern of the command, and why."""
TOUR = "README's tour: tests/test_readme.py runs it"

SMALL_RUN = "--epochs 1 --clips-per-video 1 --frames 4 --size 32 --batch-size 4 --workers 0 --resume never"
SMALLER = {
    r"^s2tf-train |-m s2tf_edge\.training ": SMALL_RUN,
    r"^s2tf-report (?!--merge|--compare)": "--duration 0.2",
    r"^s2tf-optimize ": "--duration 0.2 --targets onnx",
    r"--selftest$": "--duration 30",
    # README goes on with a model.pt of its own, and exporting a whole R(2+1)D takes minutes.
    r"^s2tf-import .*(r2plus1d_18|mc3_18|s2tf_x3d_s)": "--out imported.pt",
}
"""Flags that a command is given behind its own, so that it takes seconds; the last of a name counts."""
BOUNDED = re.compile(r"--(slo|fail-under|max-drop|compare|selftest)\b")
"""Commands that end with 6 where a bound is not met, which is up to the machine and drawn weights."""


@dataclass(frozen=True)
class Command:
    """A line of a block of ``sh``."""

    page: str
    line: str
    is_tour: bool

    @property
    def text(self) -> str:
        """Without what it says of itself."""
        return re.sub(r"\s+#\s.*$", "", self.line).strip()

    @property
    def reason(self) -> str | None:
        """Why it is not run here."""
        if self.is_tour:
            return TOUR
        return next((reason for pattern, reason in NOT_RUN.items() if re.search(pattern, self.text)), None)


def _read(page: str) -> Iterator[Command]:
    text = PAGES[page].read_text(encoding="utf-8")
    for mark, block in re.findall(r"(<!-- tested -->\n)?^```sh\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        # tests/cli/test_signatures.py runs such a block whole.
        if block.startswith("# by hand"):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip() and not line.startswith("#"):
                yield Command(page, line, is_tour=bool(mark))


COMMANDS = [command for page in PAGES for command in _read(page)]


@cache
def _parser(script: str) -> tuple[Any, tuple[str, ...]]:
    """What reads the words of a console script, and the examples of its help."""
    found = command_line_of(importlib.import_module(SCRIPTS[script]).main)
    return get_command(found.parser()), found.examples


def _programs(text: str) -> Iterator[list[str]]:
    """The words of each program of a line, without what is set before it and where it writes to."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("|&;"):
            yield words
            words = []
        elif words or not re.match(r"\w+=", word):
            words.append(word)


def _flags(script: str) -> set[str]:
    return {flag for each in _parser(script)[0].params for flag in (*each.opts, *each.secondary_opts)}


def _check(words: list[str]) -> None:
    """Raises where a program, an option or a value is not there."""
    if ">" in words:
        words = words[: words.index(">")]
    if not words:
        return
    program, *arguments = words
    if Path(program).name in SCRIPTS:
        program = Path(program).name
    if program == "s2tf" and arguments[:1] in (["--help"], ["--show-completion"], ["expotr"]):
        return
    if program == "s2tf" and arguments:
        program, *arguments = f"s2tf-{arguments[0]}", *arguments[1:]
    if program in SCRIPTS and arguments == ["--help"]:
        return
    if program in SCRIPTS and "…" in arguments:
        unknown = {word for word in arguments if word.startswith("-")} - _flags(program)
        assert not unknown, f"no such option: {unknown}"
    elif program in SCRIPTS:
        _parser(program)[0].make_context(program, arguments)
    elif program == "torchrun":
        start = next(index for index, word in enumerate(words) if word in {"--no-python", "s2tf_edge.training"})
        name = "s2tf-train" if words[start] == "s2tf_edge.training" else words[start + 1]
        _check([name, *words[start + 1 + (name != "s2tf-train") :]])
    elif program == "make":
        assert re.search(rf"^{arguments[0]}:", MAKEFILE, flags=re.MULTILINE), f"no target {arguments[0]}"
    elif program.endswith("pip"):
        extras = {extra for names in re.findall(r"\[([\w,-]+)\]", " ".join(words)) for extra in names.split(",")}
        assert extras <= set(re.findall(r"^([\w-]+) = \[", PROJECT, flags=re.MULTILINE)), extras
    else:
        is_ours = program.startswith("tools/") and (ROOT / program).is_file()
        assert program in OTHERS or is_ours or program.startswith(".venv/bin/"), f"no program {program}"
        script = arguments[0] if program == "python" else ""
        assert not script.endswith(".py") or (ROOT / script).is_file(), f"no file {script}"


def _complaint(text: str) -> str | None:
    try:
        for words in _programs(text):
            _check(words)
    except Exception as error:  # whatever a parser says
        return f"{text}: {error}"
    return None


@pytest.mark.parametrize("page", PAGES)
def test_the_options_of_every_command_exist(page: str) -> None:
    assert not [found for command in COMMANDS if command.page == page and (found := _complaint(command.text))]


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_options_of_the_examples_in_every_help_exist(script: str) -> None:
    assert not [found for example in _parser(script)[1] if (found := _complaint(example))]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("s2tf-export model.pt --target onnx --no-such-flag", "--no-such-flag"),
        ("s2tf-train videos/ --model x3d_s --out a --epochs many", "valid integer"),
        ("s2tf-train videos/ --epoch …", "--epoch"),
        ("cat list.txt | s2tf-stroll --source -", "no program cat"),
        ("torchrun --nproc-per-node 2 --no-python s2tf-eval model.pt --dat x", "--dat"),
        ("make coffee", "no target coffee"),
        ("pip install '.[openvino,coffee]'", "coffee"),
    ],
)
def test_a_wrong_command_is_found(line: str, said: str) -> None:
    assert said in (_complaint(line) or "")


@pytest.mark.parametrize("page", PAGES)
def test_every_flag_that_a_page_speaks_of_exists(page: str) -> None:
    known = {"--help"}.union(*map(_flags, SCRIPTS))
    spoken = re.findall(r"`[^`\n]*`", re.sub(r"^```.*?^```", "", PAGES[page].read_text("utf-8"), flags=re.S | re.M))
    flags = {flag for code in spoken for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", code)}
    assert flags <= known | OTHERS_FLAGS | OWN_FLAGS


@pytest.mark.parametrize("page", PAGES)
def test_what_python_on_a_page_imports_exists(page: str) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", PAGES[page].read_text("utf-8"), flags=re.DOTALL | re.MULTILINE):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("s2tf_edge"):
                module = importlib.import_module(node.module or "")
                assert not [each.name for each in node.names if not hasattr(module, each.name)]


def test_every_reason_not_to_run_is_one_of_a_command() -> None:
    unused = [pattern for pattern in NOT_RUN if not any(re.search(pattern, each.text) for each in COMMANDS)]
    assert not unused
    assert sum(command.reason is None for command in COMMANDS) > 2 * len(COMMANDS) // 5


def _smaller(text: str) -> str:
    """A command that takes seconds; what it writes elsewhere stays behind it."""
    program, redirect, out = text.partition(" > ")
    more = [flags for pattern, flags in SMALLER.items() if re.search(pattern, program)]
    return " ".join([program, *more]) + redirect + out


def _run(text: str, folder: Path) -> str | None:
    """What went wrong, if anything did."""
    paths = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    words = ["bash", "-c", _smaller(text)]
    nothing = subprocess.DEVNULL
    done = subprocess.run(
        words, cwd=folder, env=os.environ | paths, stdin=nothing, capture_output=True, text=True, check=False
    )
    allowed = {0, 6} if BOUNDED.search(text) else {0}
    if done.returncode in allowed and "Traceback" not in done.stderr:
        return None
    return f"{text}: exit code {done.returncode}\n{done.stderr[-1500:]}"


def _copy(source: str, target: str) -> None:
    """Copies what commands may write to; large files are linked."""
    (os.link if Path(source).stat().st_size > 2**20 else shutil.copy)(source, target)


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({command.page for command in COMMANDS if command.reason is None}))
def test_every_command_runs(page: str, made_files: Path, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    shutil.copytree(made_files, folder, copy_function=_copy)
    commands = [command.text for command in COMMANDS if command.page == page and command.reason is None]
    wrong = [found for text in commands if (found := _run(text, folder))]
    assert not wrong, "\n".join(wrong)
