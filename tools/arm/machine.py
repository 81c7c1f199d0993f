"""This machine and emulated Arm processors: they run scripts and commands, and tell how that ended."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

VIDEO_SECONDS: Final = 4
"""Of a stream, of which a second takes some five when it is emulated."""
PATIENCE: Final = 900
"""Seconds for one process."""
_CRASHED: Final = 139
_OUT_OF_TIME: Final = 124


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A process that came to an end."""

    code: int
    """Above 128 for a signal."""
    out: str
    errors: str
    peak_mb: int

    @property
    def last(self) -> str:
        """The last line of what went wrong."""
        lines = [line for line in self.errors.splitlines() if line.strip()]
        return lines[-1] if lines else "nothing said"

    def describe(self) -> str:
        """How a process ended that did not do what it should."""
        if self.code == _CRASHED:
            return "CRASHED: segmentation fault"
        if self.code == _OUT_OF_TIME:
            return f"took longer than {PATIENCE} s"
        return f"ended with {self.code}: {self.last[:200]}"


class Machine:
    """This one, or an emulated processor."""

    def __init__(self, folder: Path, processor: str | None = None) -> None:
        """Takes the folder of ``tools/check_arm.sh``, and the emulator's name of a processor; None for this machine."""
        self.name = processor or "here"
        self._scripts = Path(__file__).parent
        # Without sight of what this machine has installed for its own Python.
        self._env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1"}
        self._python = [sys.executable]
        self._commands = Path(sys.executable).parent
        if processor:
            system, site = folder / "system", folder / "site"
            self._python = [str(folder / "emulator/usr/bin/qemu-aarch64"), "-cpu", processor, "-L", str(system)]
            self._python.append(str((system / "usr/bin/python3").resolve()))
            self._commands = site / "bin"
            self._env |= {"PYTHONPATH": str(site)}
        self._env |= {"XDG_CACHE_HOME": str(folder / "cache" / self.name)}

    def answer(self, artifact: Path, frames: Path, out: Path) -> Ended:
        """Runs ``tools/arm/answer.py``."""
        return self._run(self._scripts / "answer.py", artifact, frames, out)

    def stream(self, artifact: Path, video: Path) -> Ended:
        """Runs ``s2tf-stream``, whose records are in ``out``."""
        how = ("--jsonl", "-", "--duration", VIDEO_SECONDS, "--threads", 1)
        return self._run(self._commands / "s2tf-stream", artifact, "--source", video, *how)

    def _run(self, *words: object) -> Ended:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors, tempfile.NamedTemporaryFile() as peak:
            weigh = [sys.executable, "-I", "-S", str(self._scripts / "weigh.py"), peak.name]
            line = [*weigh, "timeout", "--foreground", str(PATIENCE), *self._python, *map(str, words)]
            code = subprocess.call(line, env=self._env, stdin=subprocess.DEVNULL, stdout=out, stderr=errors)
            peak_mb = round(int(peak.read()) * 1024 / 1e6)
            return Ended(code=code, out=_read(out), errors=_read(errors), peak_mb=peak_mb)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
