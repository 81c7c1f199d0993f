"""Runs a command, and writes into a file how much memory it took: ``weigh.py FILE COMMAND ...``.

Linux carries the peak of a process over to what it starts, so that a large program cannot ask this of its own child;
this one is small.
"""

import resource
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Ends with the exit status of the command; below zero, as 128 and the signal."""
    code = subprocess.call(sys.argv[2:])
    peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    Path(sys.argv[1]).write_text(str(peak_kib), encoding="ascii")
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
