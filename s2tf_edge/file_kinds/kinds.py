"""The kinds of files that users have at hand, and what each place in a command wants."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

__all__ = [
    "CLASS_NAMES",
    "CLIP_FILE",
    "MODEL_FILE",
    "NETWORK",
    "NETWORK_NAME",
    "PUBLISHED",
    "RUNNABLE",
    "SETTINGS",
    "TRAINING_RUN",
    "VIDEOS",
    "FileKind",
    "Wanted",
]


class FileKind(enum.Enum):
    """What a path can be; the value is what messages call it."""

    MISSING = "nothing"
    UNKNOWN = "a file of no known kind"
    FOLDER = "a folder"
    # Ours.
    ARTIFACT = "an artifact folder"
    ARTIFACT_FILE = "a file of an artifact folder"
    ARTIFACTS = "a folder of artifact folders"
    RUN_FOLDER = "a folder with a model.pt in it"
    MODEL = "a model.pt"
    RUN_CHECKPOINT = "a checkpoint of a training run of s2tf-train"
    CLIP_FILE = "a description of a network's clips"
    CLASS_NAMES = "a list of class names"
    # Networks of others.
    CHECKPOINT = "a checkpoint of weights"
    SAFETENSORS = "a checkpoint of weights in .safetensors"
    TORCHSCRIPT = "a TorchScript program"
    EXPORTED_PROGRAM = "a program of torch.export"
    EXECUTORCH = "an ExecuTorch program"
    ONNX = "an ONNX graph"
    ONNX_FOLDER = "a folder with an ONNX graph in it"
    ONNX_WEIGHTS = "the weights of an ONNX graph"
    ORT = "a graph in ONNX Runtime's own format"
    IR = "a graph of OpenVINO"
    IR_FOLDER = "a folder with a graph of OpenVINO in it and no meta.json"
    IR_WEIGHTS = "the weights of a graph of OpenVINO"
    ENGINE = "a TensorRT engine"
    TFLITE = "a LiteRT (TensorFlow Lite) model"
    GRAPHDEF = "a graph of TensorFlow"
    SAVED_MODEL = "a SavedModel of TensorFlow"
    KERAS = "a Keras model, or another HDF5 file"
    GGUF = "a GGUF file, which holds a quantized language model"
    # What is read with them.
    VIDEO = "a video"
    PICTURE = "a picture"
    ARRAYS = "a file of NumPy arrays"
    LIST = "a list"
    JSON = "a JSON file"
    TEXT = "a text file"
    PDF = "a PDF"
    # What came in place of something else.
    EMPTY = "an empty file"
    POINTER = "a Git LFS pointer, which stands for a file"
    WEB_PAGE = "a web page, such as a login or an error"
    ARCHIVE = "an archive"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a place in a command takes.

    What is not there, of no known kind or a plain folder is left to whoever opens it, who knows more.
    """

    words: str
    """What messages call it, with its article."""
    kinds: frozenset[FileKind]

    def takes(self, kind: FileKind) -> bool:
        """Whether a path of that kind may be right."""
        return kind in self.kinds or kind in _OPENERS


_OPENERS: Final = frozenset({FileKind.MISSING, FileKind.UNKNOWN, FileKind.FOLDER})
_OUR_NETWORKS: Final = frozenset({FileKind.MODEL, FileKind.ARTIFACT, FileKind.ARTIFACT_FILE})
_WORDS: Final = frozenset({FileKind.TEXT, FileKind.LIST, FileKind.EMPTY})

RUNNABLE: Final = Wanted(words="an artifact folder or a model.pt", kinds=_OUR_NETWORKS)
PORTABLE: Final = Wanted(
    words="a portable artifact folder", kinds=frozenset({FileKind.ARTIFACT, FileKind.ARTIFACT_FILE})
)
NETWORK: Final = Wanted(words="a model.pt, an .onnx or an artifact folder", kinds=_OUR_NETWORKS | {FileKind.ONNX})
PUBLISHED: Final = Wanted(
    words="a published checkpoint of torch.save or safetensors",
    kinds=frozenset({FileKind.CHECKPOINT, FileKind.SAFETENSORS}),
)
MODEL_FILE: Final = Wanted(words="a model.pt", kinds=frozenset({FileKind.MODEL}))
TRAINING_RUN: Final = Wanted(words="the last.ckpt of a training run", kinds=frozenset({FileKind.RUN_CHECKPOINT}))
VIDEOS: Final = Wanted(words="videos or a list of them", kinds=_WORDS | {FileKind.VIDEO, FileKind.PICTURE})
CLIP_FILE: Final = Wanted(
    words="a description of a network's clips", kinds=_WORDS | {FileKind.CLIP_FILE, FileKind.JSON}
)
CLASS_NAMES: Final = Wanted(words="a list of class names", kinds=_WORDS | {FileKind.CLASS_NAMES, FileKind.JSON})
SETTINGS: Final = Wanted(words="a TOML file of settings", kinds=_WORDS)
NETWORK_NAME: Final = Wanted(words="the name of a network, as s2tf-models lists them", kinds=frozenset())
