"""Artifacts of one step, and the sessions that run them: they say what the network says, frame by frame."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from s2tf_edge.data.datasets import open_data
from s2tf_edge.errors import InputFileError, S2TFError, UsageError
from s2tf_edge.export import ExportOptions, export
from s2tf_edge.export.plan import plan_export
from s2tf_edge.export.rebuild import RebuildPlan
from s2tf_edge.export.verify.expected import read_expected
from s2tf_edge.models import VideoNetwork, create_model, load_model, save_model
from s2tf_edge.preprocess import crop_frames, normalize
from s2tf_edge.runtime.artifact import read_meta
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.session import Session, SessionOptions
from s2tf_edge.runtime.session.step_state import HostBuffer, RingState, StepState
from s2tf_edge.spec import ClipSpec

Build = Callable[..., Path]
Floats = NDArray[np.float32]
FRAMES = 5
SIZE = 32


def _draw_norms(network: nn.Module) -> None:
    """As training leaves them: logits of an untrained network are so alike that int8 changes much of their range."""
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm3d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.5, 1.5)


@pytest.fixture(scope="module")
def causal_file(tiny_x3d: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small S2TF-X3D that steps, with norms as training leaves them."""
    del tiny_x3d
    torch.manual_seed(0)
    network = create_model("s2tf_x3d_tiny?width=0.5&causal=true", num_classes=10, frames=FRAMES, size=SIZE)
    _draw_norms(network)
    path = tmp_path_factory.mktemp("causal") / "causal net.pt"
    save_model(path, network)
    return path


@pytest.fixture(scope="module")
def network(causal_file: Path) -> VideoNetwork:
    return load_model(causal_file).eval()


@pytest.fixture(scope="module")
def build(causal_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Exports once what several tests look at."""
    built: dict[str, Path] = {}

    def make(**options: Any) -> Path:
        key = str(options)
        if key not in built:
            out = tmp_path_factory.mktemp("artifact") / "step"
            built[key] = export(causal_file, ExportOptions(**options, out=out)).folder
        return built[key]

    return make


ONNX: dict[str, Any] = {"target": "onnx", "precision": "fp32"}
OPENVINO: dict[str, Any] = {"target": "openvino", "precision": "fp32"}
HALF: dict[str, Any] = {"target": "openvino", "precision": "fp16"}
WIDE: dict[str, Any] = {**OPENVINO, "hop": 2, "batch": 2, "input": "u8", "mask": True}
INTEGER: dict[str, Any] = {"precision": "int8", "calib": "synthetic?clips=8"}
TOLERANCES = {"fp32": 1e-4, "fp16": 0.05, "int8": 0.1}
ON_GPU = [
    pytest.param({**options, "target": target}, id=f"{target} {name}", marks=[pytest.mark.needs_gpu, mark])
    for target, mark in (
        ("onnx", pytest.mark.needs_ort_cuda),
        ("trt", pytest.mark.needs_tensorrt),
        ("trt-rtx", pytest.mark.needs_rtx),
    )
    for name, options in (("fp32", ONNX), ("fp16", HALF), ("wide", WIDE), ("int8", INTEGER))
]
"""What steps on an NVIDIA GPU, where memory of a state is named anew with each step."""


@pytest.fixture(params=[ONNX, OPENVINO], ids=["onnx", "openvino"])
def session(request: pytest.FixtureRequest, build: Build) -> Iterator[Session]:
    with open_session(build(**request.param), SessionOptions(threads=1)) as session:
        yield session


def _pixels(count: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """Frames [count, S, S, 3] that change from one to the next."""
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def _moving(count: int) -> NDArray[np.uint8]:
    """A video, as what is calibrated on: noise would leave its ranges."""
    spec = ClipSpec(frames=count, size=SIZE, stride=1, fps=15.0, resize_short_side=SIZE)
    return crop_frames(open_data("synthetic?clips=40").videos[30].read(spec, at=0.0), spec)


def _input(session: Session, frames: NDArray[np.uint8]) -> Any:
    return normalize(frames, dataclasses.replace(session.info.spec, frames=len(frames)))[np.newaxis]


def _step_all(session: Session, frames: NDArray[np.uint8], state: StepState | None = None) -> Floats:
    """Logits [len(frames), K] of a network that steps by single frames."""
    state = state or session.start()
    return np.concatenate([session.step(_input(session, frame[np.newaxis]), state).logits for frame in frames])


@torch.no_grad()
def _expected(network: VideoNetwork, frames: NDArray[np.uint8], *, hop: int = 1) -> Floats:
    spec = dataclasses.replace(network.spec, frames=len(frames))
    clip, state, said = torch.from_numpy(normalize(frames, spec))[None], network.start_state(), []
    for seen in torch.split(clip, hop, dim=2):
        logits, state = network.step(seen, state)
        said.append(logits)
    return torch.cat(said).numpy()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(ONNX, id="onnx"),
        pytest.param(OPENVINO, id="openvino"),
        pytest.param(HALF, id="half", marks=pytest.mark.slow),
        pytest.param({**INTEGER, "target": "onnx"}, id="onnx int8", marks=pytest.mark.slow),
        pytest.param({**INTEGER, "target": "openvino"}, id="openvino int8", marks=pytest.mark.slow),
        pytest.param({**INTEGER, **WIDE, "precision": "int8"}, id="openvino int8 wide", marks=pytest.mark.slow),
        *ON_GPU,
    ],
)
def test_a_session_says_what_the_network_says_at_every_frame(
    build: Build, network: VideoNetwork, options: dict[str, Any]
) -> None:
    frames = _moving(network.receptive_field + 41)
    with open_session(build(**options)) as session:
        hop, batch = session.info.hop, session.info.batch or 1
        count = len(frames) // hop * hop
        expected = _expected(network, frames[:count], hop=hop)[FRAMES:]
        state, got = session.start(), []
        for start in range(0, count, hop):
            seen = np.repeat(_input(session, frames[start : start + hop]), batch, axis=0)
            got.append(session.step(seen, state).logits[-1])
    error = np.abs(np.stack(got)[FRAMES:] - expected).max() / float(np.ptp(expected))
    assert error <= TOLERANCES[options["precision"]]
    # Which is not for want of anything that changes.
    assert np.abs(np.diff(expected, axis=0)).max() > 1e-3 * float(np.ptp(expected))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(ONNX, id="onnx"),
        pytest.param(OPENVINO, id="openvino", marks=pytest.mark.slow),
        pytest.param({**INTEGER, "target": "openvino"}, id="openvino int8", marks=pytest.mark.slow),
    ],
)
def test_motion_is_seen_from_the_first_frame_on(tiny_x3d: None, tmp_path: Path, options: dict[str, Any]) -> None:
    del tiny_x3d
    torch.manual_seed(0)
    name = "x3d_tiny?width=0.5&causal=true&motion=true"
    network = create_model(name, num_classes=10, frames=FRAMES, size=SIZE).eval()
    _draw_norms(network)
    save_model(tmp_path / "motion.pt", network)
    frames = _moving(12)
    still = np.repeat(frames[:1], 12, axis=0)
    folder = export(tmp_path / "motion.pt", ExportOptions(**options, out=tmp_path / "out")).folder
    with open_session(folder) as session:
        got, nothing = _step_all(session, frames), _step_all(session, still)
    expected = _expected(network, frames)
    assert np.abs(got - expected).max() <= TOLERANCES[options["precision"]] * float(np.ptp(expected))
    # A still picture is no motion, however few of it were seen.
    assert np.abs(nothing[5:] - _expected(network, np.zeros_like(still))[5:]).max() <= 0.1 * float(np.ptp(expected))


def test_several_frames_a_call_of_streams_side_by_side(build: Build, network: VideoNetwork) -> None:
    streams = [_pixels(24, seed=seed) for seed in (1, 2)]
    with open_session(build(**WIDE)) as session:
        state, got, masks = session.start(), [], []
        for start in range(0, 24, 2):
            outputs = session.step(np.stack([frames[start : start + 2] for frames in streams]), state)
            got.append(outputs.logits)
            masks.append(outputs.mask)
        assert (session.info.spec.frames, session.info.hop, state.frames()) == (6, 2, 24)
    for index, frames in enumerate(streams):
        expected = _expected(network, frames, hop=2)[2:]
        assert np.abs(np.stack(got)[2:, index] - expected).max() <= 1e-4 * float(np.ptp(expected))
    assert masks[-1] is not None
    assert masks[-1].shape == (2, 1, 1, 1, 1)


def test_a_clip_is_seen_from_a_fresh_start(session: Session, network: VideoNetwork) -> None:
    clips = np.concatenate([_input(session, _pixels(FRAMES, seed=seed)) for seed in range(3)])
    with torch.no_grad():
        expected = network(torch.from_numpy(clips)).numpy()
    for _ in range(2):
        np.testing.assert_allclose(session.infer(clips).logits, expected, atol=1e-4 * float(np.ptp(expected)))


def test_two_beginnings_agree_once_the_past_is_forgotten(session: Session, network: VideoNetwork) -> None:
    assert session.info.step is not None
    reach = session.info.step.receptive_field
    states = [session.start() for _ in range(2)]
    _step_all(session, _pixels(7, seed=5), states[0])
    _step_all(session, _pixels(7, seed=6), states[1])
    frames = _pixels(reach + 3)
    first, second = (_step_all(session, frames, state) for state in states)
    assert not np.array_equal(first[:5], second[:5])
    np.testing.assert_array_equal(first[reach - 1 :], second[reach - 1 :])


def test_what_is_to_be_written_over_is_never_read(session: Session) -> None:
    frames = _pixels(12)
    clean, state = _step_all(session, frames), session.start()
    assert isinstance(state, RingState)
    got = []
    for frame in frames:
        for ring in state.rings:
            for buffer in ring.fresh:
                assert isinstance(buffer, HostBuffer)
                buffer.array.view(f"u{buffer.array.itemsize}")[:] = 2 ** (8 * buffer.array.itemsize) - 1  # no number
        got.append(session.step(_input(session, frame[np.newaxis]), state).logits)
    np.testing.assert_array_equal(np.concatenate(got), clean)


def test_states_are_independent_and_begin_anew(session: Session) -> None:
    frames, other = _pixels(9), _pixels(9, seed=3)
    alone = _step_all(session, frames)
    state, second = session.start(), session.start()
    together = []
    for frame, another in zip(frames, other, strict=True):
        together.append(session.step(_input(session, frame[np.newaxis]), state).logits)
        session.step(_input(session, another[np.newaxis]), second)
    np.testing.assert_array_equal(np.concatenate(together), alone)
    assert (state.frames(), state.is_warm()) == (9, True)
    state.reset()
    assert (state.frames(), state.is_warm()) == (0, False)
    np.testing.assert_array_equal(_step_all(session, frames, state), alone)
    with session.fork() as fork:
        np.testing.assert_array_equal(_step_all(fork, frames, session.start()), alone)


def test_one_of_several_streams_begins_anew(build: Build) -> None:
    frames = _pixels(6)
    pairs = [np.stack([frames[start : start + 2]] * 2) for start in range(0, 6, 2)]
    with open_session(build(**WIDE)) as session:
        state, fresh = session.start(), session.start()
        for pair in pairs:
            session.step(pair, state)
        state.reset(1)
        got = [session.step(pair, state).logits for pair in pairs[:2]]
        expected = [session.step(pair, fresh).logits for pair in pairs[:2]]
    assert (state.frames(0), state.frames(1)) == (10, 4)
    np.testing.assert_allclose(got[-1][1], expected[-1][1], atol=1e-6)
    assert not np.allclose(got[-1][0], expected[-1][0], atol=1e-6)


@pytest.mark.parametrize("options", ON_GPU)
def test_states_on_a_gpu_are_independent_and_begin_anew(build: Build, options: dict[str, Any]) -> None:
    with open_session(build(**options), SessionOptions(device="GPU")) as session, session.fork() as fork:
        hop, batch = session.info.hop, session.info.batch or 1
        frames = [_moving(80)[start : start + hop] for start in range(0, 80 - hop, hop)]
        steps = [np.repeat(_input(session, seen), batch, axis=0) for seen in frames]
        alone = np.stack([session.step(seen, state).logits for state in [session.start()] for seen in steps])
        state, other, of_fork = session.start(), session.start(), fork.start()
        together, forked = [], []
        for index, seen in enumerate(steps):
            together.append(session.step(seen, state).logits)
            session.step(steps[-1 - index], other)
            forked.append(fork.step(seen, of_fork).logits)
        state.reset()
        anew = [session.step(seen, state).logits for seen in steps]
    spread = float(np.ptp(alone))
    for got in (together, forked, anew):
        assert np.abs(np.stack(got) - alone).max() <= TOLERANCES[options["precision"]] * spread
    # Which a state that was mixed up with another's would not pass.
    assert np.abs(alone[::-1] - alone).max() > TOLERANCES[options["precision"]] * spread


@pytest.mark.slow
def test_ten_thousand_steps_do_not_drift(session: Session) -> None:
    assert session.info.step is not None
    frames = _pixels(100)
    state = session.start()
    for _ in range(100):
        long = _step_all(session, frames, state)
    fresh = _step_all(session, frames)
    np.testing.assert_array_equal(long[session.info.step.receptive_field :], fresh[session.info.step.receptive_field :])


@pytest.mark.slow
@pytest.mark.needs_rtx
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_an_engine_of_a_step_is_built_and_its_graph_agrees(build: Build, tmp_path: Path, precision: str) -> None:
    calib = {"calib": "synthetic?clips=8"} if precision == "int8" else {}
    folder = build(target="trt-rtx", precision=precision, **calib)
    meta = read_meta(folder)
    assert meta.step is not None
    assert meta.model == "model.engine"
    assert (folder / "model.engine").stat().st_size > 10_000
    again = export(folder, ExportOptions(target="trt-rtx", out=tmp_path / "again"))
    assert again.meta.step == meta.step
    assert again.verification is not None
    assert (again.verification.passed, again.verification.n) == (True, 8)


def test_an_artifact_says_how_it_is_driven(build: Build, network: VideoNetwork) -> None:
    folder = build(**ONNX)
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    assert (meta["form"], meta["hop"], meta["warm_up"]) == ("step", 1, FRAMES)
    assert meta["receptive_field"] == network.receptive_field
    assert meta["clip"]["frames"] == FRAMES
    assert meta["inputs"] == {"frames": {"shape": [1, 3, SIZE, SIZE], "dtype": "float32"}}
    graph = onnx.load(folder / "model.onnx").graph
    shapes = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output, *graph.value_info)
    }
    names = [f"{state['name']}_p{slot}" for state in meta["states"] for slot in range(state["slots"])]
    assert [value.name for value in graph.input] == ["frames", *names]
    assert [value.name for value in graph.output] == ["logits", *(state["output"] for state in meta["states"])]
    for state in meta["states"]:
        assert (state["layout"], state["dtype"], state["start"]) == ("NCHW", "float32", 0.0)
        assert shapes[f"{state['name']}_p0"] == shapes[state["output"]] == state["shape"]
    assert max(map(len, shapes.values())) == 4
    assert not {node.op_type for node in graph.node} & {"Loop", "If", "Scan", "ScatterND", "Gather", "Slice", "Split"}
    verified = json.loads((folder / "verify.json").read_text(encoding="utf-8"))
    assert verified["n"] == 2 * (1 + network.receptive_field)
    assert verified["unit"] == "steps"


def test_what_does_not_step_is_told(
    build: Build, causal_file: Path, plain: Path, session: Session, tmp_path: Path
) -> None:
    state, frame = session.start(), _input(session, _pixels(1))
    with open_session(causal_file) as other:
        with pytest.raises(UsageError, match=r"the state is not of causal net; take what start\(\) "):
            other.step(frame, state)
        np.testing.assert_allclose(
            _step_all(other, _pixels(9))[-1], _step_all(session, _pixels(9))[-1], atol=1e-5, rtol=0
        )
    with pytest.raises(UsageError, match=r"takes float32 \[1, 3, 1, 32, 32\] \(NCTHW\), got float32 \[2, "):
        session.step(np.concatenate([frame, frame]), state)
    with pytest.raises(UsageError, match=r"step steps 1 streams side by side, got batch=2; export it with that batch"):
        session.start(2)
    clip = export(plain, ExportOptions(target="onnx", meta=plain.with_suffix(".json"), out=tmp_path / "clip"))
    with open_session(clip.folder) as whole, pytest.raises(UsageError, match="sees whole clips and cannot step; give"):
        whole.start()


@pytest.mark.slow
def test_the_host_of_the_documentation_runs_as_it_stands(
    build: Build, causal_file: Path, network: VideoNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[2] / "docs" / "step.md"
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for options in (ONNX, {**ONNX, "hop": 2}):
        folder = tmp_path / f"hop {options.get('hop', 1)}"
        shutil.copytree(build(**options), folder / "model_onnx_fp32")
        monkeypatch.chdir(folder)
        host: dict[str, Any] = {}
        exec(compile(example, str(page), "exec"), host)
        frames, hop = _pixels(12), options.get("hop", 1)
        with open_session(causal_file) as session:
            seen = np.moveaxis(_input(session, frames)[0], 1, 0)
        got = np.concatenate([host["step"](seen[start : start + hop]) for start in range(0, 12, hop)])
        expected = _expected(network, frames, hop=hop)
        assert np.abs(got - expected).max() <= 1e-4 * float(np.ptp(expected))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"hop": 5}, UsageError, r"a step takes from 1 to 4 frames, fewer than a clip has; got `hop=5`"),
        ({"hop": 2, "form": "clip"}, UsageError, r"`hop=2` is for steps, and `form='clip'` asks for whole clips"),
        (
            {"dynamic_batch": True},
            UsageError,
            "a step takes a fixed number of streams, whose states it ",
        ),
    ],
    ids=str,
)
def test_what_a_step_cannot_be_is_told_before_anything_is_built(
    causal_file: Path, tmp_path: Path, options: dict[str, Any], error: type[S2TFError], message: str
) -> None:
    with pytest.raises(error, match=message):
        plan_export(causal_file, ExportOptions(**{"target": "onnx", "out": tmp_path / "out", **options}))


def test_an_export_says_that_it_is_a_step(causal_file: Path) -> None:
    plan = plan_export(causal_file, ExportOptions(target="onnx", hop=2))
    assert not isinstance(plan, RebuildPlan)
    assert plan.title == "exporting for onnx, fp32, one step of 2 frames"
    assert ", one step of 2 frames" in plan.lines()[0]
    assert "step" not in plan_export(causal_file, ExportOptions(target="onnx", form="clip")).title


def test_forms_of_one_precision_have_names_of_their_own(causal_file: Path) -> None:
    plans = [
        plan_export(causal_file, ExportOptions(target="onnx", **form)) for form in ({}, {"hop": 4}, {"form": "clip"})
    ]
    names = [plan.folder.name for plan in plans]
    assert names == ["causal net_onnx_fp32", "causal net_onnx_fp32_hop4", "causal net_onnx_fp32_clip"]


def test_steps_are_of_causal_networks(model_file: Path, plain: Path, build: Build, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for options, asked in (({"form": "step"}, "form='step'"), ({"hop": 2}, "hop=2")):
        with pytest.raises(UsageError, match=rf"`{asked}` is for causal networks, and s2tf_r3d_10.* sees whole clips"):
            plan_export(model_file, ExportOptions(target="onnx", out=out, **options))
        with pytest.raises(UsageError, match=rf"`{asked}` needs a model\.pt of a causal network"):
            plan_export(plain, ExportOptions(target="onnx", out=out, meta=plain.with_suffix(".json"), **options))
    with pytest.raises(UsageError, match=r"is one step of s2tf_x3d_tiny.*; for another target, give the model it was"):
        plan_export(build(**ONNX), ExportOptions(target="openvino", out=out))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"form": "walk"}, "form must be clip or step, got 'walk'"),
        ({"hop": 0}, "hop 0, warm_up 5"),
        ({"hop": 2}, "do not go together"),
        ({"warm_up": 1025}, "warm_up 1025, .* do not go together"),
        ({"states": []}, "0 states do not go together"),
        ({"states": "many"}, "states must be a list of objects"),
        ({"states": [{"name": "a"}]}, "shape"),
        ({"receptive_field": "far"}, "receptive_field must be a whole number, got 'far'"),
    ],
    ids=str,
)
def test_a_description_that_contradicts_itself_is_refused(
    build: Build, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    values = json.loads((build(**ONNX) / "meta.json").read_text(encoding="utf-8")) | change
    (tmp_path / "meta.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(InputFileError, match=r"meta\.json is not a valid artifact description .*" + words):
        open_session(tmp_path)


def test_a_graph_that_is_not_as_it_is_described_is_told(build: Build, tmp_path: Path) -> None:
    folder = tmp_path / "step"
    shutil.copytree(build(**ONNX), folder)
    values = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    values["states"][0]["shape"][1] += 1
    (folder / "meta.json").write_text(json.dumps(values), encoding="utf-8")
    with open_session(folder) as session, pytest.raises(InputFileError, match="contradicts itself when it runs"):
        session.step(_input(session, _pixels(1)), session.start())
    values["inputs"]["frames"]["shape"][0] = None
    (folder / "meta.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(InputFileError, match="has None frames a step, no multiple of hop 1; export again"):
        open_session(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values["states"].pop(), r"has inputs .* that are not described"),
        (lambda values: values["states"][0].update(name="other"), r"that are not described"),
        (lambda values: values["precision"].update(inference="fast"), r"OpenVINO has no type 'fast'"),
    ],
)
def test_openvino_is_given_all_that_a_step_takes(
    build: Build, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    folder = tmp_path / "step"
    shutil.copytree(build(**OPENVINO), folder)
    values = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    change(values)
    (folder / "meta.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(InputFileError, match=r"is not as its meta\.json says .*" + message):
        open_session(folder).open()


@pytest.mark.slow
def test_a_deferred_engine_of_a_step_keeps_what_the_mask_was(build: Build) -> None:
    folder = build(target="trt", precision="fp32", defer_build=True, mask=True)
    expected = read_expected(folder, read_meta(folder))
    assert expected.mask is not None
    assert expected.mask.shape[:3] == (8, 1, 1)


@pytest.mark.slow
def test_the_clip_form_of_the_same_network(causal_file: Path, network: VideoNetwork, tmp_path: Path) -> None:
    folder = export(causal_file, ExportOptions(target="onnx", form="clip", out=tmp_path / "clip")).folder
    clips = np.random.default_rng(0).normal(size=(2, 3, FRAMES, SIZE, SIZE)).astype(np.float32)
    with open_session(folder) as session, torch.no_grad():
        assert session.info.step is None
        expected = network(torch.from_numpy(clips)).numpy()
        np.testing.assert_allclose(session.infer(clips).logits, expected, atol=1e-4 * float(np.ptp(expected)))
