"""Two real processes that share work."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from s2tf_edge.errors import InputFileError
from s2tf_edge.process_group import ProcessGroup, join_processes

_SCRIPT = """
import sys
from s2tf_edge.errors import InputFileError
from s2tf_edge.process_group import join_processes

def fail():
    raise InputFileError(f"rank {group.rank} cannot read")

with join_processes() as group:
    print(group.rank, group.size, group.share(lambda: [group.rank] * (group.rank + 1)), group.agree(lambda: group.rank))
    for work in (group.share, group.agree):
        try:
            work(fail if group.rank == 1 else (lambda: 0))
        except InputFileError as error:
            print(error)
"""


def test_both_get_the_whole_and_an_error_of_one_is_that_of_all() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _SCRIPT],
            env=environment | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for rank, process in enumerate(processes):
        printed, errors = process.communicate()
        assert process.returncode == 0, errors
        assert printed.splitlines() == [f"{rank} 2 [[0], [1, 1]] {rank}", *["rank 1 cannot read"] * 2]


def test_alone_there_is_nothing_to_wait_for() -> None:
    with join_processes() as group:
        assert group == ProcessGroup()
        assert group.is_first
        assert group.share(lambda: 3) == [3]
        assert group.agree(lambda: 3) == 3

        for work in (group.share, group.agree):
            with pytest.raises(InputFileError, match="nothing to read"):
                work(_fail)


def _fail() -> None:
    msg = "nothing to read"
    raise InputFileError(msg)
