# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Exported networks: equal to what they were made from, at other sizes too, and removed where they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from monai_stcnnt.checkpoints.exports import ExportFormat, check_export, export_network, size_unit
from monai_stcnnt.errors import ExportMismatchError, NetworkConfigError
from monai_stcnnt.networks import STCNNTClassifier, STCNNTDenoiser, STCNNTSegmenter, build_variant
from monai_stcnnt.networks.nets import STCNNTGuidedDenoiser
from tests.networks.laws import SMALL

__all__: list[str] = []

NETS: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "soanet, T": (STCNNTDenoiser, {"backbone": "soanet", "block_strings": "T0"}),
    "soanet, G": (STCNNTClassifier, {"backbone": "soanet", "block_strings": "G0"}),
    "unet, L": (STCNNTSegmenter, {"backbone": "unet", "block_strings": "L0", "levels": 1}),
    "hrnet, T": (STCNNTDenoiser, {"backbone": "hrnet", "block_strings": "T0"}),
    "soanet, Swin in 3D": (STCNNTClassifier, {"backbone": "soanet", "block_strings": "S3Sh"}),
    "soanet, Swin": (STCNNTClassifier, {"backbone": "soanet", "block_strings": "S2s2"}),
    "soanet, convolutions": (STCNNTDenoiser, {"backbone": "soanet", "block_strings": "C2C3"}),
    "soanet, ViT": (STCNNTClassifier, {"backbone": "soanet", "block_strings": "V2V3"}),
}
BUNDLED = ["packed_unet_segmenter", "stcnnt_segmenter", "hrnetv2_segmenter"]


def make(name: str) -> nn.Module:
    """Make a small network, or that of a variant, in eval mode."""
    if name in BUNDLED:
        return build_variant(name, in_channels=3).eval()
    net, options = NETS[name]
    return net(3, 2, 4, **{**SMALL, **options}).eval()


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("soanet, T", "ts"),
        ("soanet, T", "pt2"),
        ("soanet, T", "onnx"),
        ("packed_unet_segmenter", "pt2"),
        *(
            pytest.param(name, form, marks=pytest.mark.slow)
            for name in [*NETS, *BUNDLED]
            for form in ("pt2", "onnx", "ts")
        ),
    ],
)
def test_exports_give_the_results_of_the_network(name: str, form: ExportFormat, tmp_path: Path) -> None:
    if form == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    net = make(name)
    path = export_network(net, tmp_path / f"net.{form}", form, 3)
    t, h, w = size_unit(net, 3)
    others = [torch.rand(3, 3, 4 * t, 5 * h, 2 * w), torch.rand(1, 3, 3 * t, 2 * h, 3 * w)]
    assert check_export(net, path, form, others) < 1e-4


@pytest.mark.parametrize(
    ("norm", "form"),
    [("layer", "pt2"), ("layer", "ts"), ("layer3d", "pt2"), pytest.param("layer", "onnx", marks=pytest.mark.slow)],
)
def test_what_a_norm_fixes_stays_fixed(norm: str, form: ExportFormat, tmp_path: Path) -> None:
    if form == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    net = STCNNTDenoiser(3, 2, 4, **{**SMALL, "backbone": "soanet", "block_strings": "T0", "norm": norm}).eval()
    path = export_network(net, tmp_path / f"net.{form}", form, 3)
    assert check_export(net, path, form, [torch.rand(5, 3, 4 if norm == "layer3d" else 7, 16, 16)]) < 1e-4


GUIDED: dict[str, Any] = {**SMALL, "img_size": (4, 8, 8), "backbone": "soanet", "block_strings": "T0"}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["pt2", "onnx", "ts"])
@pytest.mark.parametrize("channels", [1, 2])
def test_guided_denoisers_take_any_rows_and_columns(channels: int, form: ExportFormat, tmp_path: Path) -> None:
    if form == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    net = STCNNTGuidedDenoiser(channels + 1, channels, 4, **GUIDED).eval()
    nn.init.normal_(net.head.conv.weight, std=0.05)  # type: ignore[arg-type]  # a parameter, typed through nn.Module
    path = export_network(net, tmp_path / f"net.{form}", form, channels + 1, (5, 32, 40))
    others = [torch.rand(1, channels + 1, 5, h, w) * 5 + 1 for h, w in ((21, 50), (48, 36))]
    assert check_export(net, path, form, others) < 1e-4


def test_units_are_what_no_cell_pads() -> None:
    assert size_unit(make("soanet, T"), 3) == (1, 4, 4)
    assert size_unit(make("unet, L"), 3)[1] == 8
    assert size_unit(make("soanet, Swin in 3D"), 3)[0] == 2
    assert size_unit(build_variant("hrnetv2_segmenter"), 1) == (1, 32, 32)


def test_windows_of_another_kind_are_refused() -> None:
    options = {**SMALL, "window_size": (1, 6, 6), "patch_size": (1, 3, 3), "img_size": (4, 12, 12)}
    net = STCNNTDenoiser(3, 2, 4, backbone="soanet", block_strings="L0", **options)
    with pytest.raises(NetworkConfigError, match="no power of 2"):
        size_unit(net.eval(), 3)
    with pytest.raises(NetworkConfigError, match="Conv3d is no network of this package"):
        size_unit(nn.Conv3d(3, 2, 1), 3)


def test_an_export_of_another_network_is_removed_and_says_how_far_it_is(tmp_path: Path) -> None:
    net = make("soanet, T")
    path = export_network(net, tmp_path / "net.ts", "ts", 3)
    with pytest.raises(ExportMismatchError, match=r"differ by [0-9.e+-]+ of the largest one"):
        check_export(make("soanet, T"), path, "ts", [torch.rand(1, 3, 2, 8, 8)])
    assert not path.exists()
