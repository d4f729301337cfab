# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of HRNetV2, on tiny widths."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from monai_stcnnt.errors import LayoutError, NetworkConfigError
from monai_stcnnt.networks.hrnetv2.net import HRNETV2_VARIANTS, HRNetV2

__all__: list[str] = []

TINY: dict[str, Any] = {
    "spatial_dims": 2, "in_channels": 2, "out_channels": 3, "channels": (4, 6, 8, 10), "num_blocks": (1, 1, 1),
    "num_modules": (1, 1, 1), "stem_channels": 4, "layer1_channels": 3, "layer1_blocks": 1,
}  # fmt: skip
OCR: dict[str, Any] = {"ocr": True, "ocr_channels": (8, 4)}
FORMS: dict[str, dict[str, Any]] = {
    "2d": {},
    "2d-ocr-aligned": {**OCR, "align_corners": True},
    "2d-nearest-k3-quarter": {"fuse_mode": "nearest", "final_kernel_size": 3, "upsample_output": False},
    "3d": {"spatial_dims": 3},
    "3d-ocr-nearest-instance": {"spatial_dims": 3, "fuse_mode": "nearest", "norm": "instance", **OCR},
}


def tiny(**options: Any) -> HRNetV2:  # noqa: ANN401 - any keyword
    """A tiny network, always with the same weights."""
    torch.manual_seed(3)
    return HRNetV2(**{**TINY, **options})


def clip() -> torch.Tensor:
    return torch.randn(2, 2, 3, 37, 45, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((2, 2, 33, 47), {}),
        ((1, 2, 64, 32), {}),
        ((1, 2, 1, 1), {}),
        ((1, 2, 3, 5, 2), {}),
        ((1, 2, 1, 17, 9), {}),
        ((1, 2, 5, 33, 18), {"spatial_dims": 3}),
        ((1, 2, 1, 1, 7), {"spatial_dims": 3}),
        ((1, 2, 1, 1), {"norm": "instance"}),
        ((1, 2, 7, 9), {**OCR, "align_corners": True}),
        ((1, 2, 3, 7, 9), {"spatial_dims": 3, **OCR}),
    ],
)
def test_any_size_comes_out_as_it_went_in_or_at_a_quarter(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    x = torch.randn(shape)
    full, quarter = tiny(**options).eval(), tiny(**options, upsample_output=False).eval()
    assert full(x).shape == (shape[0], 3, *shape[2:])
    scaled = full.spatial_dims
    expected = [*shape[2 : len(shape) - scaled], *(-(-extent // 4) for extent in shape[-scaled:])]
    assert list(quarter(x).shape) == [shape[0], 3, *expected]


def test_features_have_the_stated_channels_and_strides() -> None:
    net = tiny().eval()
    branches = net.features(torch.randn(1, 2, 70, 41))
    assert [b.shape[1] for b in branches] == net.feature_channels == [4, 6, 8, 10]
    assert net.feature_strides == [4, 8, 16, 32]
    assert [b.shape[2:] for b in branches] == [(-(-70 // s), -(-41 // s)) for s in net.feature_strides]
    assert len(tiny(multi_scale_output=False).eval().features(torch.randn(1, 2, 70, 41))) == 1


def test_2d_network_treats_the_frames_of_a_clip_one_by_one() -> None:
    net, x = tiny(**OCR).eval(), clip()
    frames = torch.stack([net(x[:, :, t]) for t in range(x.shape[2])], dim=2)
    torch.testing.assert_close(net(x), frames, atol=1e-5, rtol=1e-5)


def test_3d_network_lets_frames_see_each_other() -> None:
    net, x = tiny(spatial_dims=3).eval(), clip()
    changed = x.clone()
    changed[:, :, 0] += 1
    assert not torch.allclose(net(changed)[:, :, 2], net(x)[:, :, 2])


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_layouts_are_transposes_of_each_other(spatial_dims: int) -> None:
    x = clip()
    monai = tiny(spatial_dims=spatial_dims).eval()(x)
    frames = tiny(spatial_dims=spatial_dims, layout="BTCHW").eval()(x.transpose(1, 2))
    torch.testing.assert_close(frames.transpose(1, 2), monai)


@pytest.mark.parametrize("form", FORMS)
def test_gradient_reaches_every_parameter(form: str) -> None:
    net = tiny(**FORMS[form]).train()
    outputs = net(clip())
    outputs = outputs if isinstance(outputs, list) else [outputs]
    torch.stack([y.square().sum() + y[:, 0].sum() for y in outputs]).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("form", ["2d-ocr-aligned", "2d-nearest-k3-quarter", "3d-ocr-nearest-instance"])
def test_script_and_trace_equal_eager_and_eval_repeats_itself(form: str, tmp_path: Path) -> None:
    net, x = tiny(**FORMS[form]).eval(), clip()
    torch.jit.script(net).save(str(tmp_path / "net.ts"))
    scripted = torch.jit.load(str(tmp_path / "net.ts"))
    with torch.no_grad():
        expected = net(x)
        assert torch.equal(net(x), expected)
        torch.testing.assert_close(scripted(x), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(torch.jit.trace(net, x)(x), expected, atol=1e-5, rtol=1e-5)
        other = x[:, :, 0, :21, :18] if net.spatial_dims == 2 else x[:, :, :2, :21, :18]
        torch.testing.assert_close(scripted(other), net(other), atol=1e-5, rtol=1e-5)
    outputs = scripted.train()(x)
    assert len(outputs) == (2 if net.ocr else x.shape[0])


def test_compile_without_graph_breaks() -> None:
    net, x = tiny(**OCR).eval(), clip()
    with torch.no_grad():
        compiled = torch.compile(net, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), net(x), atol=1e-5, rtol=1e-5)


def test_onnx_runtime_agrees(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    net, x = tiny(**OCR).eval(), clip()
    torch.onnx.export(net, (x,), tmp_path / "net.onnx", dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(result, net(x).numpy(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("options", [{}, OCR])
def test_half_precision_stays_finite(options: dict[str, Any]) -> None:
    net = tiny(**options).eval()
    for dtype in (torch.bfloat16, torch.float16):
        with torch.no_grad(), torch.autocast("cpu", dtype):
            y = net(clip() * 100)
        assert torch.isfinite(y).all()
        assert y.float().std() > 0


def test_untrained_published_network_stays_within_half_precision() -> None:
    torch.manual_seed(0)
    net = HRNetV2(2, 1, 2, **HRNETV2_VARIANTS["hrnetv2_w18"]).eval()
    with torch.no_grad():
        branches = net.features(torch.randn(1, 1, 32, 32))
    assert all(1e-3 < float(branch.abs().max()) < 1e3 for branch in branches)


def test_ocr_returns_auxiliary_and_main_logits_in_training_only() -> None:
    net, x = tiny(**OCR, ocr_dropout_rate=0.0, upsample_output=False), torch.randn(2, 2, 33, 40)
    outputs = net.train()(x)
    assert [y.shape for y in outputs] == [(2, 3, 9, 10)] * 2
    assert not torch.allclose(outputs[0], outputs[1])
    net.eval()
    auxiliary, main = net.logits(x)
    assert torch.equal(net(x), main)
    assert not torch.allclose(auxiliary, main)
    assert isinstance(tiny(**OCR, deep_supervision=False).train()(x), torch.Tensor)
    assert isinstance(tiny().train()(x), torch.Tensor)


FLIPS: list[tuple[str, Any, dict[str, Any]]] = [
    ("spatial_dims", 3, {}),
    ("in_channels", 3, {}),
    ("out_channels", 4, {}),
    ("channels", (4, 6, 8, 12), {}),
    ("channels", ((5, 6), (4, 6, 8), (4, 6, 8, 10)), {}),
    ("num_blocks", (1, 2, 1), {}),
    ("num_blocks", ((1, 1), (1, 1, 1), (1, 1, 2, 1)), {}),
    ("num_modules", (1, 1, 2), {}),
    ("block", "bottleneck", {}),
    ("stem_channels", 5, {}),
    ("layer1_channels", 4, {}),
    ("layer1_blocks", 2, {}),
    ("fuse_mode", "nearest", {}),
    ("align_corners", True, {}),
    ("multi_scale_output", False, {}),
    ("norm", "instance", {}),
    ("bn_momentum", 0.01, {}),
    ("final_kernel_size", 3, {}),
    ("ocr", True, {"ocr_channels": (8, 4)}),
    ("ocr_channels", (8, 6), OCR),
    ("ocr_channels", (10, 4), OCR),
    ("ocr_dropout_rate", 0.5, OCR),
    ("deep_supervision", False, OCR),
    ("upsample_output", False, {}),
    ("layout", "BTCHW", {}),
]


def fingerprint(**options: Any) -> list[torch.Tensor]:  # noqa: ANN401 - any keyword
    """What a network is and does: its outputs in training and in eval mode, and its state afterwards."""
    net = tiny(**options)
    x = torch.randn(2, net.in_channels, net.in_channels, 35, 50, generator=torch.Generator().manual_seed(1))
    trained = net.train()(x)
    trained = trained if isinstance(trained, list) else [trained]
    return [*trained, net.eval()(x), *net.state_dict().values()]


@pytest.mark.parametrize(("name", "value", "base"), FLIPS)
def test_every_argument_changes_something(name: str, value: object, base: dict[str, Any]) -> None:
    before, after = fingerprint(**base), fingerprint(**{**base, name: value})
    same = len(before) == len(after) and all(
        a.shape == b.shape and torch.allclose(a.float(), b.float()) for a, b in zip(before, after, strict=True)
    )
    assert not same


def test_every_argument_is_in_the_table_of_changes() -> None:
    assert {name for name, _, _ in FLIPS} == set(inspect.signature(HRNetV2).parameters)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spatial_dims": 1}, "spatial_dims must be one of (2, 3), got 1"),
        ({"layout": "BHWC"}, "layout must be one of"),
        ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"out_channels": 0}, "out_channels must be at least 1"),
        ({"stem_channels": 0}, "stem_channels must be at least 1"),
        ({"layer1_channels": -1}, "layer1_channels must be at least 1, got -1"),
        ({"layer1_blocks": 0}, "layer1_blocks must be at least 1"),
        ({"channels": (4, 6, 8)}, "channels needs 4 numbers, one per branch, or 3 sequences"),
        ({"channels": ((4, 6), (4, 6, 8), 10)}, "channels needs 4 numbers"),
        ({"channels": (4, 6, 8, 0)}, "channels must hold numbers of at least 1"),
        ({"channels": ((4, 6), (), (4, 6, 8, 10))}, "channels must hold numbers of at least 1"),
        ({"num_blocks": (1, 1)}, "num_blocks needs 3 entries, one per stage, got 2"),
        ({"num_blocks": (1, 0, 1)}, "num_blocks must hold numbers of at least 1"),
        ({"num_blocks": ((1, 1), (1, 1), (1, 1, 1, 1))}, "num_branches is 3, but num_blocks has 2 entries"),
        ({"num_modules": (1, 1)}, "num_modules needs 3 positive numbers"),
        ({"num_modules": (1, 1, 0)}, "num_modules needs 3 positive numbers"),
        ({"block": "dense"}, "block must be one of ('basic', 'bottleneck'), got 'dense'"),
        ({"fuse_mode": "cubic"}, "fuse_mode must be one of ('nearest', 'bilinear'), got 'cubic'"),
        ({"norm": "layer"}, "norm must be one of ('batch', 'instance'), got 'layer'"),
        ({"bn_momentum": 0.0}, "bn_momentum must be in (0, 1], got 0.0"),
        ({"norm": "instance", "bn_momentum": 0.1}, "belongs to norm='batch'"),
        ({"final_kernel_size": 2}, "final_kernel_size must be one of (1, 3), got 2"),
        ({**OCR, "final_kernel_size": 3}, "final_kernel_size=3"),
        ({**OCR, "out_channels": 1}, "at least 2 classes"),
        ({**OCR, "ocr_channels": (8, 0)}, "ocr_channels must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkConfigError) as error:
        tiny(**options)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (1, 3, 16, 16)),
        ({}, (2, 16, 16)),
        ({}, (1, 4, 2, 16, 16)),
        ({"spatial_dims": 3}, (1, 2, 16, 16)),
        ({"layout": "BTCHW"}, (1, 2, 5, 16, 16)),
    ],
)
def test_other_axes_are_refused(options: dict[str, Any], shape: tuple[int, ...]) -> None:
    with pytest.raises(LayoutError, match=r"takes 2 channels in axis"):
        tiny(**options)(torch.randn(shape))


@pytest.mark.parametrize(
    ("variant", "parameters"),
    [
        ("hrnetv2_w18_small_v2", 3_939_579),
        ("hrnetv2_w48", 65_859_379),
    ],
)
def test_variants_have_the_published_number_of_parameters(variant: str, parameters: int) -> None:
    with torch.device("meta"):
        net = HRNetV2(2, 3, 19, **HRNETV2_VARIANTS[variant])
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_variants_differ_in_width_alone() -> None:
    assert set(HRNETV2_VARIANTS) == {"hrnetv2_w18_small_v2", "hrnetv2_w18", "hrnetv2_w32", "hrnetv2_w48"}
    for width in (18, 32, 48):
        options = HRNETV2_VARIANTS[f"hrnetv2_w{width}"]
        assert options == {**HRNETV2_VARIANTS["hrnetv2_w18"], "channels": tuple(width * 2**i for i in range(4))}


def test_names_and_shapes_are_the_published_ones(shared_golden: Path) -> None:
    spec = importlib.util.spec_from_file_location("parity_hrnet", Path(__file__).parents[2] / "parity" / "hrnet.py")
    assert spec is not None
    assert spec.loader is not None
    parity = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(parity)
    lists = sorted(shared_golden.rglob("hrnetv2_*.keys.txt"))
    if not lists:
        pytest.skip(f"no lists of names under {shared_golden}")
    assert {parity.check_key_list(path)[0] for path in lists} == {"match"}
