"""What an artifact says of some frames, on whatever machine this runs; it needs the runtime alone.

    python tools/arm/answer.py ARTIFACT FRAMES.npz OUT.npz

Logits go to OUT.npz, and what the runtime says of itself to stdout, as JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.preprocess import normalize
from s2tf_edge.runtime import SessionOptions, open_session
from s2tf_edge.runtime.session import Session


def main(artifact: Path, frames: Path, out: Path) -> None:
    """Runs it."""
    logging.basicConfig(format="%(levelname)s %(message)s")
    shown = np.load(frames)["frames"]
    with open_session(artifact, SessionOptions(threads=1)) as session:
        np.savez(out, logits=np.concatenate(list(_answers(session, shown))))
        print(json.dumps({**session.describe(), "kernels": _kernels(session)}))


def _answers(session: Session, shown: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    spec, steps = session.info.spec, session.info.step is not None
    count = session.info.hop if steps else spec.frames
    state = session.start() if steps else None
    for start in range(0, len(shown) - count + 1, count):
        seen = normalize(shown[start : start + count], dataclasses.replace(spec, frames=count))[np.newaxis]
        yield (session.infer(seen) if state is None else session.step(seen, state)).logits


def _kernels(session: Session) -> dict[str, int]:
    """What OpenVINO computes its convolutions with, and how many of them."""
    compiled: Any = getattr(session, "compiled", None)
    if compiled is None:
        return {}
    infos = [operation.get_rt_info() for operation in compiled.get_runtime_model().get_ops()]
    kernels = [info["primitiveType"].astype(str) for info in infos if info["layerType"].astype(str) == "Convolution"]
    return Counter(kernels)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("artifact", "frames", "out"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    main(options.artifact, options.frames, options.out)
