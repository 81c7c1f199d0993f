from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from s2tf_edge.data.memory_folder import MemoryFolder

KILLED = """
import os, signal
from s2tf_edge.data.memory_folder import MemoryFolder
folder = MemoryFolder()
(folder.path / "a.frames").write_bytes(bytes(1000))
print(folder.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_folder_is_there_until_it_is_removed() -> None:
    first, second = MemoryFolder(), MemoryFolder()
    (first.path / "a.frames").write_bytes(b"1")
    assert first.path != second.path
    first.remove()
    second.remove()
    assert not first.path.exists()
    assert not second.path.exists()


def test_what_a_killed_process_left_is_removed_by_the_next() -> None:
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False)
    left = Path(done.stdout.strip())
    assert done.returncode == -9, done.stderr
    assert (left / "a.frames").is_file()
    MemoryFolder().remove()
    assert not left.exists()


def test_a_child_is_lent_the_folder() -> None:
    folder = MemoryFolder()
    child = os.fork()
    if not child:
        folder.remove()
        os._exit(0)
    os.waitpid(child, 0)
    assert folder.path.is_dir()
    folder.remove()
