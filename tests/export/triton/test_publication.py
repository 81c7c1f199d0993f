"""A published model, against Triton's published schema and its own file, and driven as its configuration says.

No server runs here: ``Served`` in ``conftest.py`` reads the configuration and does what Triton documents.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.errors import InputFileError, MissingExtraError, S2TFError, UnsupportedError, UsageError
from s2tf_edge.export import ExportOptions, ExportResult, plan_export, plan_publication, publish
from s2tf_edge.export.artifact_folder import seal
from s2tf_edge.runtime.artifact import read_meta
from s2tf_edge.runtime.open import open_session
from s2tf_edge.words import message_line

Serve = Callable[[Path], Any]
Export = Callable[..., ExportResult]

FORMS: list[tuple[str, dict[str, Any]]] = [
    ("onnx", {}),
    ("onnx", {"precision": "fp16"}),
    ("onnx", {"dynamic_batch": True}),
    ("onnx", {"batch": 4, "input": "u8"}),
    ("openvino", {"precision": "fp32"}),
    ("openvino", {"dynamic_batch": True}),
    ("openvino", {"batch": 2, "input": "u8"}),
    ("trt", {"defer_build": True}),
    ("trt", {"defer_build": True, "dynamic_batch": True, "input": "u8"}),
]
BACKENDS = {"onnx": "onnxruntime", "openvino": "openvino", "trt": "tensorrt"}
FILES = {
    "onnx": {"model.onnx", "artifact.json"},
    "openvino": {"model.xml", "model.bin", "artifact.json"},
    "trt": {"model.onnx", "build.sh", "artifact.json"},
}


def _publish(artifact: Path, repository: Path) -> Path:
    return publish(plan_publication(artifact, repository)).folder


def _clips(served: Any, count: int, seed: int = 0) -> NDArray[Any]:
    (given,) = served.config.input
    shape = [count, *served.inputs[given.name][1][1:]]
    random = np.random.default_rng(seed)
    if served.type_name(given.data_type) == "TYPE_UINT8":
        return random.integers(0, 256, shape, dtype=np.uint8)
    return random.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("target", "options"), FORMS, ids=str)
def test_a_clip_model_is_what_its_config_says(
    export_plain: Export, serve: Serve, tmp_path: Path, target: str, options: dict[str, Any]
) -> None:
    result = export_plain(target, triton=tmp_path / "models", **options)
    assert result.published is not None
    folder = tmp_path / "models" / "a"
    assert (result.published.folder, result.published.version, result.published.is_new) == (folder, 1, True)
    served = serve(folder)
    config = served.config
    assert (config.name, config.backend) == ("a", BACKENDS[target])
    is_batched = bool(options.get("dynamic_batch")) and target != "openvino"
    assert config.max_batch_size == (16 if is_batched else 0)
    assert config.HasField("dynamic_batching") == is_batched
    for tensors, file in ((config.input, served.inputs), (config.output, served.outputs)):
        batch = [-1] if is_batched else []
        said = {each.name: (served.type_name(each.data_type), batch + list(each.dims)) for each in tensors}
        assert said == file
    assert [group.kind for group in config.instance_group] == ([2] if target == "openvino" else [])  # KIND_CPU
    assert config.output[0].label_filename == "labels.txt"
    assert (folder / "labels.txt").read_text(encoding="utf-8").splitlines() == list("abcde")
    assert {path.name for path in served.version.iterdir()} == FILES[target]
    assert not config.HasField("sequence_batching")
    clip = {key: value.string_value for key, value in config.parameters.items()}
    assert (clip["s2tf_form"], clip["s2tf_frames"], clip["s2tf_size"]) == ("clip", "4", "16")
    assert ("s2tf_mean" in clip) == (options.get("input") != "u8")


@pytest.mark.parametrize(("target", "options"), [form for form in FORMS if form[0] != "trt"], ids=str)
def test_clients_get_what_the_artifact_says(
    export_plain: Export, serve: Serve, tmp_path: Path, target: str, options: dict[str, Any]
) -> None:
    result = export_plain(target, triton=tmp_path / "models", **options)
    served = serve(tmp_path / "models" / "a")
    clips = _clips(served, options.get("batch", 3 if options.get("dynamic_batch") else 1))
    with open_session(result.folder) as session:
        expected = session.infer(clips).logits
    got = served.infer({served.config.input[0].name: clips})["logits"]
    tolerance = 1e-5 if target == "onnx" or options.get("precision") == "fp32" else 0.02
    np.testing.assert_allclose(got, expected, atol=tolerance * float(np.ptp(expected)))


def test_what_an_engine_is_built_from_and_how_lies_in_its_version(export_plain: Export, tmp_path: Path) -> None:
    result = export_plain(
        "trt", defer_build=True, dynamic_batch=True, workspace=1.5, version_compatible=True, triton=tmp_path / "models"
    )
    script = tmp_path / "models" / "a" / "1" / "build.sh"
    assert result.published is not None
    assert result.published.build_script == script
    assert script.stat().st_mode & stat.S_IXUSR
    text = script.read_text(encoding="utf-8")
    for word in ("model.onnx", "model.plan", "1536", "versionCompatible", "1x3x4x16x16", "16x3x4x16x16"):
        assert word in text
    graph = result.folder / "model.onnx"
    assert (script.parent / "model.onnx").read_bytes() == graph.read_bytes()


def test_an_engine_that_is_there_is_the_plan(export_plain: Export, serve: Serve, tmp_path: Path) -> None:
    folder = export_plain("trt", defer_build=True).folder
    (folder / "model.engine").write_bytes(b"as a compiler wrote it")
    meta = read_meta(folder)
    build = {name: value for name, value in meta.build.items() if name != "deferred"}
    files = {**meta.files, "model.engine": ""}
    seal(dataclasses.replace(meta, model="model.engine", files=files, build=build), folder)
    published = publish(plan_publication(folder, tmp_path / "models"))
    assert published.build_script is None
    assert {path.name for path in (published.folder / "1").iterdir()} == {"model.plan", "artifact.json"}
    assert (published.folder / "1" / "model.plan").read_bytes() == b"as a compiler wrote it"
    assert 'default_model_filename: "model.plan"' in (published.folder / "config.pbtxt").read_text()


def _frames(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(7).normal(size=(count, 1, 3, 4, 4)).astype(np.float32)


def test_a_step_driven_by_its_config_says_what_the_session_says(
    step_artifact: Callable[..., Path], serve: Serve, tmp_path: Path
) -> None:
    artifact = step_artifact()
    served = serve(_publish(artifact, tmp_path / "models"))
    frames = _frames(12)
    with open_session(artifact) as session:
        state = session.start()
        expected = [session.step(frame[:, :, np.newaxis], state).logits for frame in frames]
    # Two streams whose requests come in turns, and one that begins again under the same number.
    got: dict[int, list[Any]] = {1: [], 2: []}
    for index, frame in enumerate(frames):
        for sequence in got:
            got[sequence].append(served.infer({"frames": frame}, sequence=sequence, start=index == 0)["logits"])
    for logits in got.values():
        np.testing.assert_allclose(np.concatenate(logits), np.concatenate(expected), atol=1e-6)
    again = [served.infer({"frames": frame}, sequence=1, start=index == 0) for index, frame in enumerate(frames[:5])]
    np.testing.assert_allclose(
        np.concatenate([each["logits"] for each in again]), np.concatenate(expected[:5]), atol=1e-6
    )
    # Which is not for want of a past.
    alone = served.infer({"frames": frames[4]}, sequence=3, start=True)["logits"]
    assert np.abs(alone - expected[4]).max() > 0.1


@pytest.mark.parametrize("target", ["onnx", "trt"])
def test_the_states_of_a_step_are_what_its_config_says(
    step_artifact: Callable[..., Path], serve: Serve, tmp_path: Path, target: str
) -> None:
    served = serve(_publish(step_artifact(target=target), tmp_path / "models"))
    config, batching = served.config, served.config.sequence_batching
    assert (config.backend, config.max_batch_size, len(batching.control_input)) == (BACKENDS[target], 0, 0)
    assert (batching.oldest.max_candidate_sequences, batching.max_sequence_idle_microseconds) == (64, 10_000_000)
    assert [(past, following) for _, past, following in served.states] == [
        (f"past.{name}", f"next.{name}") for name in ("cache", "cache_len", "maps", "ring")
    ]
    forms = [(each, (served.type_name(each.data_type), list(each.dims))) for each in batching.state]
    assert [dims for _, (_, dims) in forms] == [[1, 6, 4, 4], [1, 1, 4, 4], [1, 3, 4, 4], [1, 6, 1, 1]]
    assert {each.input_name: form for each, form in forms} | {"frames": ("TYPE_FP32", [1, 3, 4, 4])} == served.inputs
    assert {each.output_name: form for each, form in forms} | {"logits": ("TYPE_FP32", [1, 2])} == served.outputs
    assert (served.version / "build.sh").exists() == (target == "trt")
    said = {key: value.string_value for key, value in config.parameters.items()}
    assert (said["s2tf_form"], said["s2tf_hop"], said["s2tf_warm_up"]) == ("step", "1", "4")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"target": "trt-rtx"}, UnsupportedError, r"no backend for artifacts of trt-rtx; export for `target='trt'`"),
        ({"target": "openvino"}, UnsupportedError, r"openvino backend does not keep the states .* `target='onnx'`"),
        ({"target": "coral"}, InputFileError, r"was built for target 'coral'; Triton serves onnx, openvino, trt"),
        ({"inputs": {}}, InputFileError, r"does not describe its inputs .*there are no inputs"),
        ({"outputs": {"logits": {}}}, InputFileError, r"does not describe its outputs .*'dtype' is missing"),
        ({"outputs": {"logits": {"dtype": "u8", "shape": [1]}}}, InputFileError, r"must be float32 or uint8, got 'u8'"),
        (
            {"outputs": {"logits": {"dtype": "float32", "shape": [1, -2]}}},
            InputFileError,
            r"from 1 to 2147483647, got \[1, -2\]",
        ),
        ({"target": "trt", "build": {"deferred": True}}, InputFileError, r"does not say how its engine was asked for"),
        (
            {"target": "trt", "build": {"deferred": True}, "candidates": {"a": "b"}},
            UsageError,
            r"holds several forms to build; `s2tf-tune .*` chooses one",
        ),
    ],
    ids=str,
)
def test_what_triton_cannot_serve_is_refused(
    step_artifact: Callable[..., Path], tmp_path: Path, change: dict[str, Any], error: type[S2TFError], message: str
) -> None:
    artifact = step_artifact()
    values = json.loads((artifact / "meta.json").read_text()) | change
    (artifact / "meta.json").write_text(json.dumps(values))
    with pytest.raises(error, match=message) as raised:
        _publish(artifact, tmp_path / "models")
    assert len(message_line(raised.value)) < 400
    assert not (tmp_path / "models").exists() or not list((tmp_path / "models").iterdir())


def test_a_graph_that_is_not_as_it_is_described_is_told(step_artifact: Callable[..., Path], tmp_path: Path) -> None:
    artifact = step_artifact()
    values = json.loads((artifact / "meta.json").read_text())
    for index, change in ((0, {"name": "other"}), (2, {"shape": [1, 7, 4, 4]})):
        changed = json.loads(json.dumps(values))
        changed["states"][index].update(change)
        (artifact / "meta.json").write_text(json.dumps(changed))
        with pytest.raises(
            InputFileError, match=r"model\.onnx is not as its description says: .*export the model again"
        ):
            _publish(artifact, tmp_path / "models")
    assert not list((tmp_path / "models").iterdir())


def test_what_is_refused_is_refused_before_anything_is_built(plain: Path, tmp_path: Path) -> None:
    def refuse(error: type[S2TFError], match: str, **options: Any) -> None:
        fields = {"target": "onnx", "meta": plain.with_suffix(".json"), "out": tmp_path / "a", **options}
        with pytest.raises(error, match=match):
            plan_export(plain, ExportOptions(**fields))
        assert not (tmp_path / "a").exists()

    models = tmp_path / "models"
    refuse(UnsupportedError, r"no backend for artifacts of trt-rtx", target="trt-rtx", triton=models)
    refuse(UsageError, r"`portable=True` keeps all forms", portable=True, triton=models)
    refuse(UsageError, r"would be one folder; give `triton` another one", triton=tmp_path)
    refuse(UsageError, r"would be one folder; give `triton` another one", triton=tmp_path / "a" / "models")
    (tmp_path / "file").touch()
    refuse(InputFileError, r"cannot make the model repository .*file is a file", triton=tmp_path / "file" / "models")
    (tmp_path / "dangling").symlink_to("nowhere")
    for below in ("dangling", "dangling/models"):
        refuse(InputFileError, r"dangling is a link that leads nowhere; give another", triton=tmp_path / below)
    models.mkdir()
    (models / "a").symlink_to("nowhere")
    refuse(UsageError, r"a exists and is no model that was published here; give another `triton`", triton=models)
    (models / "config.pbtxt").touch()
    refuse(UsageError, r"is one model of a repository; give `triton` the folder", triton=models)
    (models / "meta.json").touch()
    refuse(UsageError, r"is an artifact; give `triton` the folder", triton=models)


def test_an_engine_that_is_to_be_finished_is_refused_before_that(export_plain: Export, tmp_path: Path) -> None:
    folder = export_plain("trt", defer_build=True).folder
    for target, triton, error, match in (
        ("trt-rtx", tmp_path / "models", UnsupportedError, r"no backend for artifacts of trt-rtx"),
        ("trt", folder, UsageError, r"is an artifact; give `triton` the folder"),
    ):
        with pytest.raises(error, match=match):
            plan_export(folder, ExportOptions(target=target, triton=triton))


def test_the_form_that_a_portable_artifact_is_may_be_published(
    export_plain: Export, serve: Serve, tmp_path: Path
) -> None:
    artifact = export_plain("onnx", portable=True).folder
    assert read_meta(artifact).candidates
    served = serve(_publish(artifact, tmp_path / "models"))
    assert served.infer({"clip": _clips(served, 1)})["logits"].shape == (1, 5)


def test_versions(export_plain: Export, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    artifact = export_plain("onnx").folder
    first = publish(plan_publication(artifact, repository))
    assert (first.version, first.is_new) == (1, True)
    # Whoever runs the server tunes its configuration, and files of the server's lie beside versions.
    config = first.folder / "config.pbtxt"
    tuned = config.read_text(encoding="utf-8") + "instance_group { count: 2 kind: KIND_CPU }\n"
    config.write_text(tuned, encoding="utf-8")
    (first.folder / "warmup").mkdir()
    same = publish(plan_publication(artifact, repository))
    assert (same.version, same.is_new) == (1, False)
    shutil.rmtree(artifact)
    export_plain("onnx", opset=20)
    assert "version 2" in " ".join(plan_publication(artifact, repository).lines())
    second = publish(plan_publication(artifact, repository))
    assert (second.version, second.is_new) == (2, True)
    assert config.read_text(encoding="utf-8") == tuned
    assert sorted(path.name for path in first.folder.iterdir()) == [
        "1",
        "2",
        "README.md",
        "config.pbtxt",
        "labels.txt",
        "warmup",
    ]
    # A rollback is another version.
    shutil.rmtree(artifact)
    export_plain("onnx", triton=repository)
    assert (first.folder / "3" / "model.onnx").read_bytes() == (first.folder / "1" / "model.onnx").read_bytes()
    sources = [json.loads((first.folder / number / "artifact.json").read_text()) for number in ("1", "2")]
    assert [source["artifact"] for source in sources] == ["a", "a"]
    assert sources[0]["meta_sha256"] != sources[1]["meta_sha256"]


def test_another_model_of_the_name_is_left_alone(export_plain: Export, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    artifact = export_plain("onnx", triton=repository).folder
    before = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    shutil.rmtree(artifact)
    message = r"is a model of other inputs, outputs, clips, labels or backend, .*or rename"
    with pytest.raises(UsageError, match=message):
        export_plain("onnx", input="u8", triton=repository)
    # The artifact is finished all the same.
    with open_session(artifact) as session:
        assert session.info.spec.dtype == "uint8"
    with pytest.raises(UsageError, match=message):
        plan_publication(artifact, repository)
    assert {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()} == before
    (repository / "a" / "config.pbtxt").write_text('name: "a"\n')
    refused = r"exists and is no model that was published here"
    with pytest.raises(UsageError, match=refused):
        plan_publication(artifact, repository)
    # Of an export this is known before it begins.
    seal = (artifact / "meta.json").read_bytes()
    with pytest.raises(UsageError, match=refused):
        export_plain("onnx", triton=repository)
    assert (artifact / "meta.json").read_bytes() == seal


def test_what_fails_midway_leaves_nothing(
    export_plain: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = export_plain("onnx").folder
    monkeypatch.setattr(
        shutil, "copyfile", lambda *names: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(InputFileError, match=r"cannot write .*No space left on device; free some .* another `triton`"):
        _publish(artifact, tmp_path / "repo" / "models")
    assert sorted(path.name for path in (tmp_path / "repo").iterdir()) == ["models"]
    assert not list((tmp_path / "repo" / "models").iterdir())


def test_a_published_model_is_for_all_to_read_and_a_copy(export_plain: Export, tmp_path: Path) -> None:
    artifact = export_plain("openvino").folder
    folder = _publish(artifact, tmp_path / "models")
    for path in (folder, *folder.rglob("*")):
        assert path.stat().st_mode & stat.S_IROTH
        assert not path.is_dir() or path.stat().st_mode & stat.S_IXOTH
        assert not path.is_symlink()
        assert path.is_dir() or path.stat().st_nlink == 1


def test_clips_are_published_where_there_is_neither_pytorch_nor_onnx(export_plain: Export, tmp_path: Path) -> None:
    artifact = export_plain("openvino").folder
    lines = [
        "import sys",
        "heavy = ('torch', 'onnx', 'onnx_ir', 'onnxruntime', 'openvino', 'google.protobuf')",
        "sys.modules.update(dict.fromkeys(heavy))",
        "from pathlib import Path",
        "from s2tf_edge.export import plan_publication, publish",
        f"print(publish(plan_publication({str(artifact)!r}, Path({str(tmp_path / 'models')!r}))).version)",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr


def test_steps_need_onnx_and_say_so(
    step_artifact: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        MissingExtraError, match=r"publishing a step for Triton needs the package 'onnxruntime'.*export"
    ):
        _publish(step_artifact(), tmp_path / "models")


def test_a_name_that_fits_an_address(step_artifact: Callable[..., Path], tmp_path: Path) -> None:
    assert _publish(step_artifact(name="é net, v2 (final).onnx"), tmp_path / "models").name == "net_v2_final_.onnx"
    assert _publish(step_artifact(name="é"), tmp_path / "models").name == "model"
