#!/usr/bin/env bash
# Runs on an NVIDIA GPU what waits for one: docs/gpu.md. It needs no network, and changes nothing of the machine.
#
#   tools/on_gpu.sh [--wheels DIR] [--out DIR] [--budget SECONDS]    where a GPU is
#   tools/on_gpu.sh --pack DIR [--sets core trt-rtx …]               before, where a network is
#   tools/on_gpu.sh --check                                          all but the GPU, anywhere
#
# PYTHON names the interpreter; without it the repository's environment is taken, then the first that is new enough.
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || exit 7
for python in ${PYTHON:+"$PYTHON"} "$root/.venv/bin/python" python3 python3.13 python3.12 python3.11 python3.10; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then
        exec "$python" "$root/tools/on_gpu.py" "$@"
    fi
done
echo "on_gpu.sh: no Python 3.10 or newer is here; install one, or name it: PYTHON=/path/to/python3 $0" >&2
exit 7
