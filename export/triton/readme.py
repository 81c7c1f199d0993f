"""``README.md`` of a published model: what its clients send, in which order, and what comes back."""

from __future__ import annotations

from typing import Final

from s2tf_edge.export.triton.config import triton_dtype
from s2tf_edge.export.triton.interface import PLAN_FILE, ModelTensor, ServedModel
from s2tf_edge.runtime.artifact import BUILD_SCRIPT
from s2tf_edge.words import counted, printable

__all__ = ["readme_text"]

_SEQUENCE: Final = ", sequence_id=1, sequence_start=is_first, sequence_end=is_last"
_LONGEST: Final = 60


def readme_text(model: ServedModel, name: str) -> str:
    """The whole file. It holds for all versions of the model."""
    given = _input(model)
    parts = [
        f"# {name}",
        _introduction(model),
        "## What to send",
        f"`{given.name}`, {triton_dtype(given.dtype)} {_shape(model, given)}: {_content(model)}",
        _sampling(model),
        *([_sequence(model)] if model.is_step else []),
        f"```python\n{_client(model, name)}```",
        "## What comes back",
        _answer(model),
        "## Operating it",
        *_notes(model),
    ]
    return "\n\n".join(parts) + "\n"


def _introduction(model: ServedModel) -> str:
    return (
        f"A model of Triton Inference Server, backend `{model.backend.name}`: recognizes {_classes(model)} in videos. "
        "Written by `s2tf-export`; no server has loaded it where it was written."
    )


def _input(model: ServedModel) -> ModelTensor:
    return model.inputs[0]


def _classes(model: ServedModel) -> str:
    labels = model.meta.labels
    if not labels:
        return "actions"
    first = printable(labels[0])[:_LONGEST].replace("\n", " ")
    count = "1 class" if len(labels) == 1 else f"{len(labels)} classes"
    return f"{count}, such as “{first}”,"


def _shape(model: ServedModel, tensor: ModelTensor) -> str:
    sides = ["N" if side is None else str(side) for side in tensor.shape]
    return f"[{', '.join(sides)}]" + (f", N up to {model.max_batch}" if model.max_batch else "")


def _content(model: ServedModel) -> str:
    spec, what = model.meta.clip, _what(model)
    if spec.dtype == "uint8":
        return f"{what} Bytes as they were decoded, from 0 to 255: the model normalizes them."
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (spec.mean, spec.std))
    return f"{what} Each pixel is `(value / 255 - mean) / std`, with mean {mean} and std {std} of red, green and blue."


def _what(model: ServedModel) -> str:
    spec, step, is_bytes = model.meta.clip, model.meta.step, model.meta.clip.dtype == "uint8"
    if step is None:
        axes = "frames, height, width, RGB" if is_bytes else "RGB, frames, height, width"
        return f"clips of {spec.frames} frames; the axes are clips, {axes}."
    streams = model.states[0].shape[0]
    several = f" of {streams} streams that step side by side, the first frames of all streams first" * (streams > 1)
    axes = "height, width, RGB" if is_bytes else "RGB, height, width"
    return f"the next {counted(step.hop, 'frame')}{several}; the axes are frames, {axes}."


def _sampling(model: ServedModel) -> str:
    spec = model.meta.clip
    which = "every frame" if spec.stride == 1 else f"one of every {spec.stride} frames"
    return (
        f"Frames are {spec.period_seconds:.4g} s apart, {which} of a video of {spec.fps:g} frames a second; their "
        f"short side is scaled to {spec.resize_short_side} pixels, and the middle {spec.size}×{spec.size} cut out."
    )


def _sequence(model: ServedModel) -> str:
    assert model.meta.step is not None
    return (
        "Each stream is a sequence: all its requests have one `sequence_id` other than 0, the first has "
        "`sequence_start`, the last `sequence_end`. The server keeps what the network remembers; at a start that is "
        f"nothing. Predictions before frame {model.meta.step.warm_up} of a sequence are worth nothing. After a gap in "
        "the video, or a sequence that the server has dropped as idle, begin a new one."
    )


def _client(model: ServedModel, name: str) -> str:
    tensor = _input(model)
    shape = [side or 1 for side in tensor.shape]
    given = "the next frames of a stream" if model.is_step else "a clip" if shape[0] == 1 else f"{shape[0]} clips"
    order = f'answer = client.infer("{name}", [given]{_SEQUENCE if model.is_step else ""})'
    if model.is_step:
        order = f"is_first, is_last = True, False\n{order}"
    return f"""import numpy as np
import tritonclient.grpc as triton

client = triton.InferenceServerClient("localhost:8001")
clips = np.zeros({shape}, np.{tensor.dtype})  # {given}
given = triton.InferInput("{tensor.name}", list(clips.shape), "{triton_dtype(tensor.dtype)}")
given.set_data_from_numpy(clips)
{order}
logits = answer.as_numpy("logits")
"""


def _answer(model: ServedModel) -> str:
    logits, *others = model.outputs
    text = (
        f"`{logits.name}`, FP32 {_shape(model, logits)}, before softmax; class *i* is line *i*, counted from 0, of "
        "`labels.txt`."
    )
    return text + "".join(f" `{each.name}`, FP32 {_shape(model, each)}: the saliency mask." for each in others)


def _notes(model: ServedModel) -> list[str]:
    notes = []
    if model.file == PLAN_FILE:
        notes.append(
            "An engine runs on the GPU and with the version of TensorRT that it was built with. A version folder that "
            f"has a `{BUILD_SCRIPT}` and no `{PLAN_FILE}` is not finished: run that script on the server, where its "
            "`trtexec` is."
        )
    if model.max_batch:
        notes.append(f"Requests are put together up to {model.max_batch} clips; `dynamic_batching` may let them wait.")
    elif _input(model).shape[0] is None:
        notes.append("A request may have any number of clips; requests are not put together.")
    if model.backend.on_cpu_alone and model.meta.precision.get("inference") == "f32":
        notes.append(
            "On processors with bfloat16 this backend computes in it, and has no parameter against that: figures of "
            "float32 are of another runtime."
        )
    notes.append(
        "What you change in `config.pbtxt` (instances, delays, idle times) stays when a version is added. Its "
        "parameter `s2tf_interface` tells `s2tf-export` which models may be versions of this one."
    )
    return notes
