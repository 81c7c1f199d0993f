from __future__ import annotations

from s2tf_edge.processes import Processes


def test_processes_are_told_by_torchrun() -> None:
    assert Processes.from_environment({}) == Processes()
    environment = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "2"}
    found = Processes.from_environment(environment)
    assert found == Processes(rank=5, count=8, here=4, machines=2)
    assert (found.is_first, Processes().is_first) == (False, True)
