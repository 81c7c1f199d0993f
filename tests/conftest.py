"""Tests run side by side on few cores: one thread each is faster, and the sums come out the same everywhere."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
