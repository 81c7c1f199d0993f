"""``config.pbtxt``: how Triton opens a model, what it takes and gives, and what keeps its states."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any, Final

from s2tf_edge.export.triton.interface import ModelTensor, ServedModel, StatePair
from s2tf_edge.export.triton.text_format import Constant, text_format
from s2tf_edge.spec import ClipSpec
from s2tf_edge.words import printable

__all__ = ["LABELS_FILE", "config_text", "find_fingerprint", "fingerprint", "labels_text", "triton_dtype"]

LABELS_FILE: Final = "labels.txt"
_FINGERPRINT: Final = "s2tf_interface"
_FOUND: Final = re.compile(rf'"{_FINGERPRINT}"[^"]*"([0-9a-f]{{64}})"')
_DTYPES: Final = {"float32": "FP32", "float16": "FP16", "uint8": "UINT8"}
_SEQUENCES: Final = 64
"""That one instance keeps at a time; more wait until one of them ends."""
_IDLE_SECONDS: Final = 10.0
"""After which a sequence counts as over, at least; a camera may be away for as long."""
_IDLE_STEPS: Final = 20


def triton_dtype(dtype: str) -> str:
    """What clients call a type: ``FP32`` for ``float32``."""
    return _DTYPES[dtype]


def labels_text(model: ServedModel) -> str:
    """The file of class names, one a line."""
    return "".join(printable(label).replace("\n", r"\n") + "\n" for label in model.meta.labels)


def config_text(model: ServedModel, name: str) -> str:
    """The whole file, for a model that goes by ``name``."""
    return text_format(_config(model, name, {**_clip(model), _FINGERPRINT: fingerprint(model)}))


def fingerprint(model: ServedModel) -> str:
    """Stands for all that versions of one model have in common: two of one fingerprint may take each other's place."""
    values = json.dumps([_config(model, "", _clip(model)), labels_text(model)], sort_keys=True)
    return hashlib.sha256(values.encode()).hexdigest()


def find_fingerprint(config: str) -> str | None:
    """The fingerprint in a configuration that was written here, and may have been edited since; None in any other."""
    found = _FOUND.search(config)
    return None if found is None else found[1]


def _config(model: ServedModel, name: str, parameters: dict[str, str]) -> dict[str, Any]:
    is_batched = model.max_batch > 0
    outputs = [_tensor(tensor, is_batched) for tensor in model.outputs]
    outputs[0]["label_filename"] = LABELS_FILE
    return {
        "name": name,
        "backend": model.backend.name,
        "default_model_filename": model.file,
        "max_batch_size": model.max_batch,
        "input": [_tensor(tensor, is_batched) for tensor in model.inputs],
        "output": outputs,
        **({"dynamic_batching": {}} if is_batched else {}),
        **({"sequence_batching": _sequences(model)} if model.is_step else {}),
        **({"instance_group": [{"kind": Constant("KIND_CPU")}]} if model.backend.on_cpu_alone else {}),
        "parameters": [{"key": key, "value": {"string_value": value}} for key, value in parameters.items()],
    }


def _tensor(tensor: ModelTensor, is_batched: bool) -> dict[str, Any]:
    sides = tensor.shape[1:] if is_batched else tensor.shape
    dims = [-1 if side is None else side for side in sides]
    return {"name": tensor.name, "data_type": _data_type(tensor.dtype), "dims": dims}


def _data_type(dtype: str) -> Constant:
    return Constant(f"TYPE_{_DTYPES[dtype]}")


def _sequences(model: ServedModel) -> dict[str, Any]:
    """States that begin with zeros, and hold for a sequence.

    Strategy ``oldest``: without batches, ``direct`` has room for one sequence an instance. The step needs no control
    inputs: what a sequence begins with is all that is to be known of its start. Buffers of input and output stay
    apart, as no server has shown that they may be one.
    """
    assert model.meta.step is not None
    step_seconds = model.meta.step.hop * model.meta.clip.period_seconds
    return {
        "max_sequence_idle_microseconds": round(max(_IDLE_SECONDS, _IDLE_STEPS * step_seconds) * 1e6),
        "oldest": {"max_candidate_sequences": _SEQUENCES},
        "state": [_state(pair) for pair in model.states],
    }


def _state(pair: StatePair) -> dict[str, Any]:
    form = {"data_type": _data_type(pair.dtype), "dims": list(pair.shape)}
    return {
        "input_name": pair.past,
        "output_name": pair.next,
        **form,
        "initial_state": [{**form, "zero_data": True, "name": "start"}],
    }


def _clip(model: ServedModel) -> dict[str, str]:
    """What clients must know beyond shapes and types."""
    spec, step = model.meta.clip, model.meta.step
    values = {
        "form": "clip" if step is None else "step",
        "frames": str(spec.frames),
        "stride": str(spec.stride),
        "fps": f"{spec.fps:g}",
        "resize_short_side": str(spec.resize_short_side),
        "size": str(spec.size),
        **_pixels(spec),
    }
    if step is not None:
        steps = {"hop": step.hop, "warm_up": step.warm_up, "receptive_field": step.receptive_field}
        values |= {name: str(value) for name, value in steps.items()}
    return {f"s2tf_{name}": value for name, value in values.items()}


def _pixels(spec: ClipSpec) -> dict[str, str]:
    if spec.dtype == "uint8":
        return {"pixels": "RGB from 0 to 255"}
    return {"pixels": "RGB from 0 to 1, less mean, over std", "mean": _numbers(spec.mean), "std": _numbers(spec.std)}


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.9g}" for value in values)
