"""Tools and benchmarks are scripts: they find each other by their folder, and so must their tests."""

from __future__ import annotations

import sys
from pathlib import Path

for name in ("benchmarks", "tools"):
    folder = str(Path(__file__).parents[2] / name)
    if folder not in sys.path:
        sys.path.insert(0, folder)
