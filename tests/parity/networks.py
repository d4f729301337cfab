# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Build our modules from the metadata of a fixture of the attention, cell, block, updown, backbone or denoise kind."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from monai_stcnnt.checkpoints.snraware import convert_snraware_state
from monai_stcnnt.checkpoints.snraware_options import (
    published_block_string,
    snraware_backbone_options,
    snraware_cell_options,
)
from monai_stcnnt.checkpoints.states import load_strictly
from monai_stcnnt.networks.backbones import STCNNTHRNet, STCNNTSOANet, STCNNTUNet
from monai_stcnnt.networks.block_string import CellSpec, parse_block_string
from monai_stcnnt.networks.blocks import CellBlock
from monai_stcnnt.networks.cells import AttentionCell, ConvNormAct
from monai_stcnnt.networks.layers.frames import FrameConv
from monai_stcnnt.networks.layers.resample import AttentionGate, FramePatchMerging, InterpolateFrames
from monai_stcnnt.networks.layers.spatial_attention import SpatialAttention
from monai_stcnnt.networks.layers.temporal_attention import TemporalAttention
from monai_stcnnt.networks.layers.windows import WindowSize
from monai_stcnnt.networks.nets import STCNNTDenoiser

TOLERANCE = 1e-4
KINDS = {
    "SpatialLocalAttention": ("local", 2),
    "SpatialGlobalAttention": ("global", 2),
    "SpatialViTAttention": ("vit", 2),
    "Local3DAttention": ("local", 3),
    "Global3DAttention": ("global", 3),
    "ViT3DAttention": ("vit", 3),
    "Swin3DAttention": ("swin", 3),
}
MODES = {
    "temporal": "T1",
    "local": "L1",
    "global": "G1",
    "vit_2d": "V2",
    "vit_3d": "V3",
    "local_3d": "L3",
    "global_3d": "G3",
    "swin_3d": "S3",
    "swin_3d_shifted": "s3",
    "conv2d": "C2",
    "conv3d": "C3",
}


class Departs(Exception):  # noqa: N818 - an outcome, not an error
    """The published numbers are those of a mistake that we do not repeat."""


class LeftOut(Exception):  # noqa: N818 - an outcome, not an error
    """The rules allow to leave this case out."""


def triple(hwt: list[int]) -> tuple[int, int, int]:
    return (hwt[2] if len(hwt) > 2 else 1), hwt[0], hwt[1]


def act_of(name: str) -> Any:  # noqa: ANN401
    special = {"gelu": ("gelu", {"approximate": "tanh"}), "leakyrelu": ("leakyrelu", {"negative_slope": 0.1})}
    return special.get(name, name)


def attention(config: dict[str, Any]) -> nn.Module:
    kwargs, name = config["ctor"]["kwargs"], config["ctor"]["cls"]
    if name == "ConvolutionModule":
        dims = 3 if kwargs["conv_type"] == "conv3d" else 2
        size = (kwargs["D"], kwargs["H"], kwargs["W"])
        return ConvNormAct(
            kwargs["C_in"], kwargs["C_out"], size, spatial_dims=dims, norm=kwargs["norm_mode"],
            act=act_of(kwargs["activation_func"]), kernel_size=kwargs.get("kernel_size", [3])[0],
        )  # fmt: skip
    geometry = config["attn_geometry"]["."]
    similarity = "cosine" if kwargs["cosine_att"] else "normalized" if kwargs["normalize_Q_K"] else "dot"
    shared: dict[str, Any] = {
        "similarity": similarity,
        "output_proj": kwargs.get("att_with_output_proj", True),
        "qk_stride": kwargs.get("stride_qk", [1])[0],
        "kernel_size": kwargs.get("kernel_size", [3])[0],
    }
    if name.startswith("Temporal"):
        heads: Any = "channel" if name == "TemporalChannelCnnAttention" else "pixel"
        return TemporalAttention(
            kwargs["C_in"],
            kwargs["C_out"],
            kwargs["n_head"],
            heads=heads,
            causal=kwargs.get("is_causal", False),
            **shared,
        )
    kind: Any
    kind, dims = KINDS[name]
    bias = kwargs.get("att_with_relative_position_bias", True)
    window = triple(geometry["window_size"])
    depart(kind, dims, geometry["D"], bias=bias)
    patch = triple(geometry["patch_size"]) if geometry.get("patch_size") else window
    return SpatialAttention(
        kwargs["C_in"], kwargs["C_out"], (geometry["D"], geometry["H"], geometry["W"]), WindowSize(window, patch), kind,
        kwargs["n_head"], spatial_dims=2 if geometry["D"] == 1 else dims, shifted=kwargs.get("shifted", False),
        qkv="linear" if kwargs.get("attention_type") == "lin" else "conv",
        position_bias="after_softmax" if bias else "none", **shared,
    )  # fmt: skip


def depart(kind: str, dims: int, depth: int, *, bias: bool) -> None:
    """Raise where the rules say that our module must not match."""
    if kind == "swin":
        raise Departs("Swin: the published code never uses its value projection")
    if dims == 3 and kind == "global":
        raise Departs("3D global: the published module scrambles its output")
    if dims == 3 and depth > 1 and bias and kind in ("local", "vit"):
        raise Departs("3D bias: the published table is indexed in another order than the tokens")


def spec_departs(spec: CellSpec, depth: int, options: dict[str, Any]) -> None:
    depart(spec.kind, spec.spatial_dims, depth, bias=options["position_bias"] != "none")


def windows_of(kwargs: dict[str, Any], geometry: dict[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Window and patch (t, h, w) of a published cell: counts win over sizes, and have defaults of their own."""
    size = (kwargs["D"], kwargs["H"], kwargs["W"])
    if not geometry.get("window_size"):
        return (1, 1, 1), (1, 1, 1)
    windows, patches = kwargs.get("num_wind") or [8, 8, 1], kwargs.get("num_patch") or [4, 4, 1]
    window = triple([max(e // n, 1) for e, n in zip(size[1:] + size[:1], (*windows, 1)[:3], strict=True)])
    return window, tuple(max(w // n, 1) for w, n in zip(window, triple([*patches, 1][:3]), strict=True))


def cell(config: dict[str, Any]) -> nn.Module:
    kwargs = config["ctor"]["kwargs"]
    code = MODES[kwargs["att_mode"]]
    spec = parse_block_string(code)[0]
    spec = CellSpec(spec.kind, spec.spatial_dims, kwargs.get("with_mixer", True), spec.shifted)
    published = {"mixer_kernel_size": [5, 5, 5], "mixer_padding": [2, 2, 2], "mixer_type": "conv", "n_head": 8}
    published |= {"window_size": [8, 8, 1], "patch_size": [4, 4, 1], "attention_type": "conv", "norm_mode": "layer"}
    published |= {"cosine_att": True, "normalize_Q_K": False, "scale_ratio_in_mixer": 4.0, "activation_func": "prelu"}
    constructor = {"C_in", "C_out", "H", "W", "D", "att_mode", "with_mixer", "use_flash_attention"}
    options = snraware_cell_options({**published, **{k: v for k, v in kwargs.items() if k not in constructor}}, [code])
    if "chw" in config["case"]:
        options["temporal_heads"] = "pixel"
    size = (kwargs["D"], kwargs["H"], kwargs["W"])
    options["window_size"], options["patch_size"] = windows_of(kwargs, config["attn_geometry"].get("attn", {}))
    options["cell_type"] = "parallel" if config["ctor"]["cls"] == "Parallel_Cell" else "sequential"
    if spec.kind in ("vit", "swin"):
        options["qkv"] = "conv"
    spec_departs(spec, kwargs["D"], options)
    linear = options["mixer"] == "linear" and spec.kind not in ("temporal", "conv")
    if linear and options["cell_type"] == "sequential":
        raise Departs("sequential linear mixer: the published code drops the residual")
    return AttentionCell(spec, kwargs["C_in"], kwargs["C_out"], size, **options)


def block(config: dict[str, Any]) -> nn.Module:
    ctor = config["ctor"]
    string = published_block_string(ctor["block_str"])
    options = snraware_cell_options(ctor["block"]["cell"], [string])
    options |= {"cell_type": ctor["block"]["cell_type"], "dense": ctor["block"]["block_dense_connection"]}
    for spec in parse_block_string(string):
        spec_departs(spec, ctor["D"], options)
    return CellBlock(string, ctor["C_in"], ctor["C_out"], (ctor["D"], ctor["H"], ctor["W"]), **options)


class InterpolateConv(nn.Module):
    """The stand-alone interpolation by one half with its 1x1 convolution, in frame layout."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.interpolate = InterpolateFrames(0.5)
        self.conv = FrameConv(in_channels, out_channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(self.interpolate(x))


def updown(config: dict[str, Any]) -> nn.Module:
    name, kwargs = config["ctor"]["cls"], config["ctor"]["kwargs"]
    if name == "_D2":
        return InterpolateConv(kwargs["C_in"], kwargs["C_out"])
    if name == "_unet_attention":
        return AttentionGate(kwargs["C"], kwargs["C_q"])
    modules: list[nn.Module] = []
    for step in range(kwargs["N"]):
        channels = kwargs["C_in"] if step == 0 else kwargs["C_out"]
        if name == "DownSample":
            modules.append(FramePatchMerging(channels, kwargs["C_out"], spatial_dims=3 if kwargs.get("is_3D") else 2))
        elif name == "UpSample":
            if kwargs["method"] not in ("linear", "NN"):
                raise LeftOut("B-spline upsampling")
            modules.append(InterpolateFrames(2.0, "bilinear" if kwargs["method"] == "linear" else "nearest"))
            modules.append(FrameConv(channels, kwargs["C_out"], bias=False))
        else:
            raise ValueError(f"unknown resampling module {name}")
    return nn.Sequential(*modules)


def backbone(config: dict[str, Any]) -> nn.Module:
    ctor = config["ctor"]
    options = snraware_backbone_options(ctor["backbone"])
    net = {"hrnet": STCNNTHRNet, "unet": STCNNTUNet, "soanet": STCNNTSOANet}[options.pop("backbone")]
    for string in options["block_strings"]:
        for spec in parse_block_string(string):
            spec_departs(spec, ctor["D"], options)
    if net is STCNNTUNet and options["levels"] > 2:
        raise Departs("U-Net: the published sizes of the decoder's windows are an accident from three levels on")
    size = (ctor["D"], ctor["H"], ctor["W"])
    return net(ctor["input_feature_channels"], img_size=size, **options)


def denoise(config: dict[str, Any]) -> nn.Module:
    ctor = config["ctor"]
    return STCNNTDenoiser(
        ctor["C_in"], ctor["C_out"], img_size=(ctor["D"], ctor["H"], ctor["W"]), layout="BTCHW",
        **snraware_backbone_options(ctor["backbone"]),
    )  # fmt: skip


class InCell(nn.Module):
    """A stand-alone attention under the name that it has in a cell, which the name rules know."""

    def __init__(self, attn: nn.Module) -> None:
        super().__init__()
        self.attn = attn

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attn(x)


BUILDERS = {
    "attention": lambda config: InCell(attention(config)),
    "cell": cell,
    "block": block,
    "updown": updown,
    "backbone": backbone,
    "denoise": denoise,
}


def check(case: Any) -> tuple[str, str]:  # noqa: ANN401
    """Compare one fixture; see the harness."""
    try:
        net = BUILDERS[case.kind](case.config)
    except Departs as reason:
        return "departure", str(reason)
    except LeftOut as reason:
        return "skip", str(reason)
    state = {n.removeprefix("param."): t for n, t in case.tensors.items() if n.startswith("param.")}
    if case.kind == "attention":
        state = {f"attn.{name}": tensor for name, tensor in state.items()}
    load_strictly(net, convert_snraware_state(state, net), case.name)
    frames_in = case.config["layout"].startswith("[B, T, C")
    inputs = [t for n, t in sorted(case.tensors.items()) if n == "input" or n.startswith("input.")]
    inputs = inputs if frames_in else [t.transpose(1, 2) for t in inputs]
    with torch.no_grad():
        result = net.eval()(*inputs)
    results = list(result) if isinstance(result, (list, tuple)) else [result]
    results = results if frames_in else [r.transpose(1, 2) for r in results]
    wanted = [t for n, t in sorted(case.tensors.items()) if n == "output" or n.startswith("output.")]
    if (
        case.kind == "backbone"
        and case.config["ctor"]["cls"] == "SOAnet"
        and case.config["ctor"]["backbone"]["downsample"]
    ):
        wanted = wanted[::2]
    assert len(results) == len(wanted), f"{len(results)} tensors, {len(wanted)} published"
    worst = 0.0
    for ours, theirs in zip(results, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=TOLERANCE, rtol=TOLERANCE)
        worst = max(worst, float((ours - theirs).abs().max()))
    return "match", f"largest difference {worst:.1e}"
