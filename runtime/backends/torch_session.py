"""Eager PyTorch: the reference that every artifact is compared with, and the baseline of reports."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from s2tf_edge.errors import UsageError
from s2tf_edge.models.step import describe_step
from s2tf_edge.runtime.session import Clips, ModelInfo, Outputs, Session, SessionOptions
from s2tf_edge.runtime.session.step_state import StepState
from s2tf_edge.step_spec import StepSpec

if TYPE_CHECKING:
    from s2tf_edge.models.s2tf import VideoNetwork

__all__ = ["TorchSession"]

_CUDA_NAMES = ("cuda", "gpu")


class TorchSession(Session):
    """Runs the network in float32 as it was trained, in eval mode; takes any number of clips in one run.

    On a GPU too: TF32, PyTorch's default there, rounds products to 10 bits, an error larger than what fp32 is allowed.
    """

    backend: ClassVar[str] = "torch"

    def __init__(self, path: Path, info: ModelInfo, options: SessionOptions, *, network: VideoNetwork) -> None:
        super().__init__(path, info, options)
        self._network = network
        self._device = _device(options.device)
        self._threads_before = 0
        self._tf32_before = True

    @classmethod
    def from_file(cls, path: Path, options: SessionOptions) -> TorchSession:
        """A session for a ``model.pt``.

        Raises:
            InputFileError: the file is missing or no ``model.pt`` of this package.
            UsageError: this PyTorch has no such device.
        """
        from s2tf_edge.models.model_file import load_model

        return cls.from_network(load_model(path), path=path, options=options)

    @classmethod
    def from_network(
        cls,
        network: VideoNetwork,
        *,
        path: Path = Path("model.pt"),
        options: SessionOptions | None = None,
        hop: int = 1,
    ) -> TorchSession:
        """A session for a network made by ``s2tf_edge.models.create_model``; a causal one steps too, by ``hop`` frames.

        Raises:
            UsageError: this PyTorch has no such device.
        """
        step = describe_step(network, hop=hop) if network.is_causal else None
        info = ModelInfo(
            name=path.stem,
            network=network.name,
            target="torch",
            precision="fp32",
            # Whole steps, as an artifact of that hop takes.
            spec=dataclasses.replace(network.spec, frames=step.warm_up) if step else network.spec,
            labels=tuple(network.labels),
            batch=None,
            has_mask=network.saliency is not None,
            step=step,
        )
        return cls(path, info, options or SessionOptions(), network=network)

    def describe(self) -> dict[str, Any]:
        """Backend, version, device, inference precision and threads."""
        on_cpu = self._device.type == "cpu"
        return super().describe() | {
            "version": torch.__version__,
            "device": "CPU" if on_cpu else torch.cuda.get_device_name(self._device),
            "inference_precision": "f32",
            "threads": torch.get_num_threads(),
        }

    def _open(self) -> None:
        # PyTorch has one thread count for the whole process, and one choice of TF32: leave them as they were found.
        self._threads_before, self._tf32_before = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
        if self.options.threads:
            torch.set_num_threads(self.options.threads)
        if self._device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = False
        self._network.eval().to(self._device)

    def _run(self, clips: Clips) -> Outputs:
        with torch.inference_mode():
            logits, saliency = self._network(torch.from_numpy(clips).to(self._device), return_saliency=True)
        mask = None if saliency is None else saliency.mask.float().cpu().numpy()
        return Outputs(logits=logits.float().cpu().numpy(), mask=mask)

    @property
    def _takes_clips(self) -> bool:
        return True

    def _start(self, spec: StepSpec, batch: int) -> StepState:
        return TorchState(spec, self._network, owner=self.network_key, batch=batch, device=self._device)

    def _step(self, frames: Clips, state: StepState) -> Outputs:
        assert isinstance(state, TorchState)
        normalized = torch.from_numpy(frames).to(self._device)
        with torch.inference_mode():
            logits, saliency, state.past = self._network.step_with_saliency(normalized, state.past)
        mask = None if saliency is None else saliency.mask.float().cpu().numpy()
        return Outputs(logits=logits.float().cpu().numpy(), mask=mask)

    def _fork(self) -> None:
        self._threads_before, self._tf32_before = torch.get_num_threads(), torch.backends.cudnn.allow_tf32

    def _close(self) -> None:
        torch.set_num_threads(self._threads_before)
        if self._device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = self._tf32_before


class TorchState(StepState):
    """A state in PyTorch's tensors.

    Attributes:
        past: what ``VideoNetwork.step`` takes.
    """

    def __init__(
        self, spec: StepSpec, network: VideoNetwork, *, owner: object, batch: int, device: torch.device
    ) -> None:
        super().__init__(spec, owner=owner, batch=batch)
        self.past = {name: past.to(device) for name, past in network.start_state(batch).items()}

    def _clear(self, stream: int | None) -> None:
        which = slice(None) if stream is None else slice(stream, stream + 1)
        # Not in place: what a step gave belongs to inference mode.
        keep = [index for index in range(self.batch) if index not in range(self.batch)[which]]
        self.past = {name: _only(past, keep) for name, past in self.past.items()}


def _only(past: Tensor, streams: list[int]) -> Tensor:
    """A state that has forgotten all streams but some."""
    kept = torch.zeros_like(past)
    kept[streams] = past[streams]
    return kept


def _device(name: str) -> torch.device:
    has_cuda = torch.cuda.is_available()
    if name.lower() == "cpu" or (name == "auto" and not has_cuda):
        return torch.device("cpu")
    if has_cuda and name.lower() in (*_CUDA_NAMES, "auto"):
        return torch.device("cuda")
    msg = f"this PyTorch has no device {name!r}; it has auto, {'CPU, GPU' if has_cuda else 'CPU'}"
    raise UsageError(msg)
