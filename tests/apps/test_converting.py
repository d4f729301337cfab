# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Converted checkpoints: plain weights, a config that builds their network, a bundle that runs, and what is refused."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser, verify_net_in_out
from safetensors import safe_open
from torch import nn

from monai_stcnnt.apps import convert, denoise
from monai_stcnnt.apps.bundles import expected_remarks, open_inference
from monai_stcnnt.apps.cli.app import main
from monai_stcnnt.checkpoints import load_hrnet, load_snraware, load_weights, save_adapters
from monai_stcnnt.errors import LayoutError, MissingPackageError, ResultExistsError, StcnntError
from monai_stcnnt.networks import inject_adapters
from monai_stcnnt.networks.lora import adapted_layers
from monai_stcnnt.networks.nets import HRNetV2, STCNNTDenoiser
from tests.checkpoints.archives import Archive

__all__: list[str] = []

Run = Callable[..., int]

GOLDEN = Path(__file__).parents[1] / "golden"
HRNET: dict[str, Any] = {
    "spatial_dims": 2, "in_channels": 3, "out_channels": 5, "channels": ((4, 6), (4, 6, 8), (4, 6, 8, 10)),
    "num_blocks": (1, 1, 1), "num_modules": (1, 1, 1), "stem_channels": 4, "layer1_channels": 3, "layer1_blocks": 1,
}  # fmt: skip


def read(case: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Constructor arguments and tensors, in float32, of a file of reference values."""
    with safe_open(GOLDEN / f"{case}.safetensors", framework="pt") as file:
        ctor = json.loads(file.metadata()["config"])["ctor"]
        return ctor, {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a mapping


def publish(folder: Path, ctor: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> tuple[Path, Path]:
    """Write weights and configuration as they are published."""
    weights, config = folder / "tiny.pth", folder / "tiny.yaml"
    torch.save(dict(state), weights)
    published = {"backbone": ctor["backbone"], "dataset": {"cutout_shape": [ctor["H"], ctor["W"], ctor["D"]]}}
    config.write_text(yaml.safe_dump(published), encoding="utf-8")
    return weights, config


def weights_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix("param."): t for name, t in tensors.items() if name.startswith("param.")}


@pytest.fixture
def source(tmp_path: Path) -> tuple[Path, Path]:
    """A tiny published denoiser: weights and configuration."""
    ctor, tensors = read("denoise/snraware_tiny_model")
    return publish(tmp_path, ctor, weights_of(tensors))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the tiny denoiser, in a folder of its own."""
    folder = tmp_path_factory.mktemp("published")
    ctor, tensors = read("denoise/snraware_tiny_model")
    weights, config = publish(folder, ctor, weights_of(tensors))
    [made] = convert(weights, tmp_path_factory.mktemp("made") / "bundle", kind="snraware", config=config, bundle=True)
    return made


def rebuild(weights: Path, config: Path) -> nn.Module:
    """The network that a config defines with the weights, both as MONAI reads them."""
    state = torch.load(weights, weights_only=True)
    assert type(state) is dict
    assert all(type(tensor) is torch.Tensor and not tensor.requires_grad for tensor in state.values())
    assert not hasattr(state, "_metadata")
    parser = ConfigParser()
    parser.read_config(str(config))
    net = parser.get_parsed_content("network_def")
    assert isinstance(net, nn.Module)
    net.load_state_dict(state, strict=True)
    return net.eval()


def network_of(bundle: Path) -> nn.Module:
    return rebuild(bundle / "models" / "model.pt", bundle / "configs" / "inference.json")


def test_a_converted_denoiser_gives_the_published_output(source: tuple[Path, Path], tmp_path: Path) -> None:
    written = convert(source[0], tmp_path / "out" / "denoiser.pt", kind="snraware", config=source[1])
    assert written == [tmp_path / "out" / "denoiser.pt", tmp_path / "out" / "denoiser.json"]
    assert sorted((tmp_path / "out").iterdir()) == sorted(written)
    net = rebuild(*written)
    _, tensors = read("denoise/snraware_tiny_model")
    with torch.no_grad():
        torch.testing.assert_close(net(tensors["input"]), tensors["output"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", ["hrnet_2level_layernorm_keepnumwindow", "soanet_2stage_nodown_T1"])
def test_other_options_of_denoisers_are_kept(case: str, tmp_path: Path) -> None:
    ctor, tensors = read(f"backbone/{case}")
    outgoing = tensors[max(name for name in tensors if name.startswith("output."))].shape[1]
    state = {f"bk.{name}": tensor for name, tensor in weights_of(tensors).items()}
    for name, shape in {"pre.conv": (4, 3, 3, 3), "post.conv": (2, outgoing, 3, 3)}.items():
        state |= {f"{name}.weight": torch.randn(shape), f"{name}.bias": torch.randn(shape[0])}
    weights, config = publish(tmp_path, ctor, state)
    net = rebuild(*convert(weights, tmp_path / "out", kind="snraware", config=config))
    x = torch.randn(1, 3, ctor["D"], ctor["H"], ctor["W"])
    with torch.no_grad():
        assert torch.equal(net(x), load_snraware(weights, config)(x))


@pytest.mark.parametrize("kind", ["snraware", "hrnet"])
def test_the_config_leaves_no_keyword_to_a_default(
    kind: Literal["snraware", "hrnet"], source: tuple[Path, Path], tmp_path: Path
) -> None:
    if kind == "snraware":
        written = convert(source[0], tmp_path / "out", kind=kind, config=source[1])
        classes: list[type[nn.Module]] = [STCNNTDenoiser, type(STCNNTDenoiser(img_size=(2, 8, 8)).backbone)]
    else:
        torch.save(HRNetV2(**HRNET).state_dict(), tmp_path / "hrnet.pth")
        written, classes = convert(tmp_path / "hrnet.pth", tmp_path / "out", kind=kind), [HRNetV2]
    content = json.loads(written[1].read_text(encoding="utf-8"))
    assert list(content) == ["network_def"]
    wanted = {p.name for one in classes for p in inspect.signature(one).parameters.values() if p.kind != p.VAR_KEYWORD}
    assert wanted <= set(content["network_def"])


@pytest.mark.parametrize(
    "options",
    [{}, {"spatial_dims": 3, "in_channels": 1}, {"ocr": True, "ocr_channels": (8, 4), "align_corners": True},
     {"norm": "instance", "final_kernel_size": 3}, {"block": "bottleneck", "multi_scale_output": False}],
)  # fmt: skip
def test_a_converted_hrnet_is_the_same_network(options: dict[str, Any], tmp_path: Path) -> None:
    net = HRNetV2(**{**HRNET, **options}).eval()
    torch.save({"state_dict": {f"module.{name}": t for name, t in net.state_dict().items()}}, tmp_path / "hrnet.pth")
    copy = rebuild(*convert(tmp_path / "hrnet.pth", tmp_path / "out", kind="hrnet"))
    x = torch.randn(1, net.in_channels, *[37, 50, 9][: net.spatial_dims])
    with torch.no_grad():
        assert torch.equal(copy(x), net(x))


def test_an_hrnet_is_adapted_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save(HRNetV2(**HRNET).state_dict(), tmp_path / "hrnet.pth")
    with caplog.at_level(logging.INFO, logger="monai_stcnnt"):
        written = convert(
            tmp_path / "hrnet.pth", tmp_path / "out", kind="hrnet", out_channels=7, in_channels=1, spatial_dims=3
        )
    for words in ("3 image channels spread evenly over 1", "inflated to 3D", "start at random: last_layer"):
        assert words in caplog.text
    net = rebuild(*written)
    with torch.no_grad():
        assert net(torch.randn(1, 1, 5, 20, 24)).shape == (1, 7, 5, 20, 24)
    assert torch.equal(
        net.get_parameter("bn1.weight"), load_hrnet(tmp_path / "hrnet.pth")[0].get_parameter("bn1.weight")
    )


def test_the_same_input_gives_the_same_bytes(source: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = (
        convert(source[0], tmp_path / name, kind="snraware", config=source[1]) for name in ("one.pt", "two.pt")
    )
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()


def save_complex(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Write a complex image (x, y, z, t) whose noise has sigma 1."""
    rng = np.random.default_rng(0)
    array = (5 + rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    image = nib.Nifti1Image(array, np.diag([2.0, 3.0, 4.0, 1.0]))
    image.header.set_xyzt_units("mm", "msec")
    nib.save(image, path)
    return array


def test_the_bundle_runs_its_network_on_complex_images(bundle: Path, tmp_path: Path) -> None:
    array = save_complex(tmp_path / "scan.nii", (16, 16, 2, 8))
    [saved] = denoise(tmp_path / "scan.nii", tmp_path / "out.nii", bundle=bundle, noise_sigma=1.0, progress=False)
    result = nib.Nifti1Image.from_filename(saved)
    frames = torch.from_numpy(array.transpose(2, 3, 1, 0).copy())  # (Z, T, Y, X): one window
    image = torch.stack([frames.real, frames.imag, torch.ones(frames.shape)], dim=1)
    with torch.no_grad():
        expected = network_of(bundle)(image).movedim(1, -1).contiguous()
    got = np.asarray(result.dataobj).transpose(2, 3, 1, 0)
    np.testing.assert_allclose(got, torch.view_as_complex(expected).numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(result.affine, np.diag([2.0, 3.0, 4.0, 1.0]))


@pytest.mark.parametrize("shape", [(21, 34, 2, 11), (9, 12, 1, 3), (20, 18, 4)])
def test_the_bundle_takes_any_size(bundle: Path, tmp_path: Path, shape: tuple[int, ...]) -> None:
    save_complex(tmp_path / "scan.nii.gz", shape)
    [saved] = denoise(tmp_path / "scan.nii.gz", tmp_path / "out", bundle=bundle, noise_sigma=1.0, progress=False)
    result = np.asarray(nib.Nifti1Image.from_filename(saved).dataobj)
    assert result.shape == shape
    assert np.iscomplexobj(result)
    assert np.isfinite(result).all()


def test_the_bundle_refuses_magnitude_images(bundle: Path, tmp_path: Path) -> None:
    array = np.abs(save_complex(tmp_path / "complex.nii", (16, 16, 2)))
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "scan.nii")
    with pytest.raises(LayoutError, match=r"complex images \(3 channels .* only, not for magnitude images"):
        denoise(tmp_path / "scan.nii", tmp_path / "out", bundle=bundle, noise_sigma=1.0, progress=False)
    assert list((tmp_path / "out").rglob("*")) == []


def test_the_bundle_has_what_monai_asks_for(bundle: Path, tmp_path: Path) -> None:
    save_complex(tmp_path / "scan.nii", (16, 16, 1))
    overrides = {"dataset_dir": str(tmp_path), "output_dir": str(tmp_path / "out")}
    with expected_remarks():
        assert open_inference(bundle, **overrides).check_properties() == []
        verify_net_in_out(
            net_id="network_def",
            meta_file=str(bundle / "configs" / "metadata.json"),
            config_file=str(bundle / "configs" / "inference.json"),
            device="cpu",
        )
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    image = metadata["network_data_format"]["inputs"]["image"]
    assert (image["num_channels"], image["spatial_shape"]) == (3, [8, 16, 16])
    assert metadata["version"] in metadata["changelog"]


def test_the_bundle_says_where_it_comes_from_without_folders(bundle: Path) -> None:
    readme = (bundle / "docs" / "README.md").read_text(encoding="utf-8")
    assert "tiny.pth" in readme
    assert "MIT license" in readme
    assert "{" not in readme
    assert f"{sum(p.numel() for p in network_of(bundle).parameters()):,} parameters" in readme
    assert len(re.findall(r"`[0-9a-f]{64}`", readme)) == 2
    assert (bundle / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")
    for path in bundle.rglob("*"):
        if path.is_file():
            assert str(bundle.parent).encode() not in path.read_bytes(), path
    assert {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()} == {
        "LICENSE",
        "configs/inference.json",
        "configs/logging.conf",
        "configs/metadata.json",
        "docs/README.md",
        "models/model.pt",
    }


@pytest.mark.slow
def test_monai_runs_the_bundle_from_inside(bundle: Path, tmp_path: Path) -> None:
    save_complex(tmp_path / "scan.nii", (16, 16, 1))
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
    command += ["--input_file", str(tmp_path / "scan.nii"), "--output_dir", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {"scan_denoised.nii", "scan_denoised.json", "manifest.jsonl"}


def test_published_files_are_converted(shared_golden: Path, tmp_path: Path) -> None:
    folder = shared_golden / "checkpoint"
    weights, config = folder / "snraware_tiny_model.pth", folder / "snraware_tiny_model.yaml"
    [made] = convert(weights, tmp_path / "bundle", kind="snraware", config=config, bundle=True)
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in (made / "docs" / "README.md").read_text(encoding="utf-8")
    x = torch.randn(1, 3, 8, 16, 16)
    with torch.no_grad():
        assert torch.equal(network_of(made)(x), load_snraware(weights, config)(x))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line."""

    def call(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["stcnnt", "convert", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0)

    return call


def test_the_command_says_what_it_adapted_and_wrote(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(HRNetV2(**HRNET).state_dict(), tmp_path / "hrnet.pth")
    assert run(tmp_path / "hrnet.pth", tmp_path / "out", "--kind", "hrnet", "--in-channels", 1) == 0
    said = capsys.readouterr()
    assert said.out.split() == [str(tmp_path / "out" / name) for name in ("model.pt", "model.json")]
    assert "spread evenly over 1" in said.err
    assert run(tmp_path / "hrnet.pth", tmp_path / "out", "--kind", "hrnet", "--in-channels", 1, "--quiet") == 0
    assert capsys.readouterr().err == ""


def torchscript(source: tuple[Path, Path]) -> Path:
    path = source[0].with_suffix(".pts")
    torch.jit.trace(Archive(torch.load(source[0], weights_only=True)), torch.ones(1)).save(str(path))
    return path


def test_torchscript_is_converted_when_trusted(source: tuple[Path, Path], tmp_path: Path, run: Run) -> None:
    path = torchscript(source)
    assert run(path, tmp_path / "b.pt", "--kind", "snraware", "--config", source[1], "--trust") == 0
    assert run(source[0], tmp_path / "a.pt", "--kind", "snraware", "--config", source[1]) == 0
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


class Stranger:
    """An object that is more than a tensor."""


def saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def text(path: Path, content: str = "a: [") -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def snraware(weights: Path, output: Path, config: Path, *more: object) -> list[object]:
    return [weights, output, "--kind", "snraware", "--config", config, *more]


def hrnet(p: Path, *more: object) -> list[object]:
    return [saved(HRNetV2(**HRNET).state_dict(), p / "h.pth"), p / "out", "--kind", "hrnet", *more]


def classification(p: Path) -> Path:
    state = HRNetV2(**HRNET).state_dict()
    return saved({name: t for name, t in state.items() if not name.startswith("last_layer.")}, p / "c.pth")


# What is given, from a folder and the source in it, and what is said about it.
CASES: dict[str, tuple[Callable[[Path, tuple[Path, Path]], list[object]], str]] = {
    "missing weights": (lambda p, s: snraware(p / "none.pth", p / "out", s[1]), "none.pth"),
    "missing configuration": (lambda p, s: snraware(s[0], p / "out", p / "none.yaml"), "none.yaml"),
    "no configuration": (lambda p, s: [s[0], p / "out", "--kind", "snraware"], "--config"),
    "unreadable configuration": (lambda p, s: snraware(s[0], p / "out", text(p / "x.yaml")), "not a published"),
    "text as weights": (lambda p, s: snraware(text(p / "x.pth"), p / "out", s[1]), "x.pth"),
    "pickled code": (lambda p, s: snraware(saved(Stranger(), p / "x.pth"), p / "out", s[1]), "Stranger"),
    "untrusted TorchScript": (lambda p, s: snraware(torchscript(s), p / "out", s[1]), "--trust"),
    "other names": (
        lambda p, s: snraware(saved({"x.y": torch.ones(2)}, p / "x.pth"), p / "out", s[1]),
        "x.y is unknown to the network",
    ),
    "other kind of weights": (
        lambda p, s: [s[0], p / "out", "--kind", "hrnet"],
        "does not fit the network|holds no HRNetV2",
    ),
    "options of the other kind": (
        lambda p, s: snraware(s[0], p / "out", s[1], "--out-channels", 1, "--spatial-dims", 3),
        "--out-channels, --spatial-dims does not belong to --kind snraware",
    ),
    "zero of the other kind": (
        lambda p, s: snraware(s[0], p / "out", s[1], "--out-channels", 0),
        "--out-channels does not belong to",
    ),
    "configuration of an HRNet": (lambda p, s: hrnet(p, "--config", s[1]), "--config does not belong to --kind hrnet"),
    "bundle of an HRNet": (lambda p, _: hrnet(p, "--bundle"), "no bundle for HRNetV2"),
    "four axes": (lambda p, _: hrnet(p, "--spatial-dims", 4), "spatial_dims must be one of"),
    "no classes": (lambda p, _: hrnet(p, "--out-channels", 0), "out_channels must be at least 1"),
    "unknown number of classes": (lambda p, _: [classification(p), p / "out", "--kind", "hrnet"], "Give out_channels"),
    "other suffix": (lambda p, s: snraware(s[0], p / "out.pth", s[1]), r"does not end in \.pt"),
    "folder in the way": (
        lambda p, s: snraware(s[0], folder(p / "out" / "model.pt").parent, s[1]),
        "model.pt is a folder",
    ),
    "output under a file": (lambda _, s: snraware(s[0], s[1] / "out" / "model.pt", s[1]), "cannot be written"),
    "bundle under a file": (lambda _, s: snraware(s[0], s[1] / "out", s[1], "--bundle"), "cannot be written"),
    "weights in the way": (
        lambda p, s: snraware(s[0].rename(p / "model.pt"), p, s[1]),
        "model.pt is what the network is converted from",
    ),
    "configuration in the way": (
        lambda p, s: snraware(s[0], p / "x.pt", s[1].rename(p / "x.json")),
        "x.json is what the network is converted from",
    ),
    "bundle in the way": (lambda p, s: snraware(s[0], folder(p / "out"), s[1], "--bundle"), "exists already"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_said_in_a_sentence(
    case: str, source: tuple[Path, Path], tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, wanted = CASES[case]
    given = arguments(tmp_path, source)
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert run(*given, "--quiet") == 2
    said = capsys.readouterr().err
    assert said.startswith("stcnnt: ")
    assert re.search(wanted, said), said
    assert "Traceback" not in said
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before


def test_own_weights_are_merged_with_adapters_and_exported(tmp_path: Path) -> None:
    options: dict[str, Any] = {"backbone": "soanet", "block_strings": "T0", "img_size": [2, 8, 8], "num_heads": 2}
    torch.manual_seed(0)
    net = STCNNTDenoiser(3, 2, 4, norm="none", **options).eval()
    torch.save(net.state_dict(), tmp_path / "model.pt")
    target = "monai_stcnnt.networks.nets.STCNNTDenoiser"
    definition = {"_target_": target, "channels": "@width", "norm": "none", **options}
    (tmp_path / "model.json").write_text(json.dumps({"width": 4, "network_def": definition}), encoding="utf-8")
    inject_adapters(net, 2)
    for _, layer in adapted_layers(net):
        nn.init.normal_(layer.up.weight, std=0.1)  # type: ignore[arg-type]
    save_adapters(net, tmp_path / "adapters.pt")
    written = convert(
        tmp_path / "model.pt", tmp_path / "merged", kind="network", config=tmp_path / "model.json",
        merge=tmp_path / "adapters.pt", export="ts",
    )  # fmt: skip
    assert [path.name for path in written] == ["model.pt", "model.json", "model.ts"]
    parser = ConfigParser()
    parser.read_config(str(written[1]))
    merged = load_weights(parser.get_parsed_content("network_def"), written[0])
    x = torch.randn(1, 3, 3, 9, 10)
    with torch.no_grad():
        torch.testing.assert_close(merged(x), net(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "Give the MONAI config"),
        ({"config": "model.json", "net_id": "absent"}, "has no entry 'absent'"),
        ({"config": "absent.json"}, "There is no config"),
        ({"config": "model.json", "trust": True}, "--trust does not belong to --kind network"),
    ],
)
def test_wrong_options_for_own_weights_are_refused(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    torch.save({}, tmp_path / "model.pt")
    (tmp_path / "model.json").write_text("{}", encoding="utf-8")
    given = {name: tmp_path / value if name == "config" else value for name, value in options.items()}
    with pytest.raises(StcnntError, match=said):
        convert(tmp_path / "model.pt", tmp_path / "out", kind="network", **given)


def test_other_files_are_not_replaced(source: tuple[Path, Path], tmp_path: Path) -> None:
    weights, config = source
    options: dict[str, Any] = {"kind": "snraware", "config": config}
    target = tmp_path / "out" / "model.pt"
    target.parent.mkdir()
    for name in ("model.pt", "model.json", "model.ts"):
        mine = target.parent / name
        mine.write_text("mine")
        with pytest.raises(ResultExistsError, match=rf"{name} exists already.*--redo"):
            convert(weights, target, **options, export="ts" if name == "model.ts" else None)
        assert [(path.name, path.read_text()) for path in target.parent.iterdir()] == [(name, "mine")]
        mine.unlink()
    written = convert(weights, target, **options)
    assert convert(weights, target, **options) == written  # the same files are not in the way
    written[1].write_text("{}")
    assert convert(weights, target, **options, redo=True) == written
    assert "network_def" in written[1].read_text()


def test_onnx_names_the_extra_before_the_work(
    source: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingPackageError, match=r"onnxscript: pip install .monai-stcnnt\[onnx\]"):
        convert(source[0], tmp_path / "out", kind="snraware", config=source[1], export="onnx")
    assert not (tmp_path / "out").exists()
