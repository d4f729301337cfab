# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Options of our networks from a published SNRAware configuration: every one is used, or refused by its name.

What only says how the network was trained is passed by; it is listed here, so that nothing else is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from monai_stcnnt.errors import CheckpointMismatchError
from monai_stcnnt.networks.block_string import parse_block_string

__all__ = [
    "published_block_string",
    "snraware_backbone_options",
    "snraware_cell_options",
    "snraware_denoiser_options",
]

FIXED_HEADS = 8
"""ViT and Swin cells of the published code run with 8 heads whatever their configuration says."""

TRAINING_SECTIONS = frozenset((
    "optim", "scheduler", "trainer", "logging", "step_mode", "train_data_dir", "test_data_dir", "seed",
    "batch_size", "num_workers", "prefetch_factor", "loss", "loss_weights", "val_data_portion",
    "overlap_for_inference", "device_mesh", "heads",
))  # fmt: skip
"""Top-level entries that describe a training, a machine, or heads of other networks."""
WITHOUT_EFFECT = frozenset(("_target_", "with_timer", "use_interpolation", "with_conv", "flash_att", "block_config"))
"""Entries that change nothing in the published networks: class names, timing, options that their code never reads."""
CELL_KEYS = frozenset((
    "attention_type", "mixer_type", "window_size", "patch_size", "window_sizing_method", "n_head", "kernel_size",
    "stride", "padding", "stride_s", "stride_t", "mixer_kernel_size", "mixer_stride", "mixer_padding",
    "scale_ratio_in_mixer", "normalize_Q_K", "cosine_att", "att_with_relative_position_bias", "att_dropout_p",
    "dropout_p", "att_with_output_proj", "norm_mode", "is_causal", "activation_func", "upsample_method",
    "temporal_multi_head_att_on_C_H_W", "shuffle_in_window", "num_wind", "num_patch",
))  # fmt: skip
KIND_KEYS: dict[str, frozenset[str]] = {
    "temporal": frozenset(("temporal_multi_head_att_on_C_H_W", "stride_qk")),
    "spatial_local": frozenset(),
    "spatial_global": frozenset(("shuffle_in_window",)),
    "convoluation": frozenset(("conv_type",)),
    "spatial_local_3d": frozenset(),
    "spatial_global_3d": frozenset(("shuffle_in_window",)),
    "spatial_vit": frozenset(),
    "vit_3d": frozenset(),
    "swin_3d": frozenset(("shifted_window_attention",)),
}
"""Groups inside of a cell's configuration; the block string, not the group, says what a convolution or Swin cell is."""
BLOCK_KEYS = frozenset(("cell", "cell_type", "block_dense_connection"))
BACKBONE_KEYS = frozenset((
    "name", "block", "block_str", "num_of_channels", "num_resolution_levels", "use_unet_attention", "num_stages",
    "downsample",
))  # fmt: skip
_ACTS: dict[str, Any] = {
    "gelu": ("gelu", {"approximate": "tanh"}),
    "leakyrelu": ("leakyrelu", {"negative_slope": 0.1}),
}
_PROJECTIONS = {"conv": "conv", "lin": "linear"}
_INTERPOLATIONS = {"linear": "bilinear", "NN": "nearest"}
_OURS = re.compile(r"^([TLG])(.)$")


def published_block_string(block_string: str) -> str:
    """Our spelling of a published block string.

    There T, L and G have a mixer whatever character follows, except that 3 makes L and G three-dimensional.
    """
    pairs = re.findall("..?", block_string)
    return "".join(_OURS.sub(lambda m: m[1] + ("3" if m[1] != "T" and m[2] == "3" else "1"), pair) for pair in pairs)


def refuse(name: str, value: object, instead: str) -> None:
    """Refuse an option of the published configuration.

    Raises:
        CheckpointMismatchError: always.
    """
    raise CheckpointMismatchError(f"The published configuration has {name}: {value}, and there is {instead} here.")


def check_keys(given: Mapping[str, Any], known: frozenset[str], place: str) -> None:
    """Refuse an option that is not known.

    Raises:
        CheckpointMismatchError: names the options, and where they stand.
    """
    unknown = sorted(set(given) - known - WITHOUT_EFFECT)
    if unknown:
        refuse(f"{place}{unknown[0]}", given[unknown[0]], "no such option")


def square_kernel(cell: Mapping[str, Any], prefix: str, *, volume: bool) -> int:
    """Size of a kernel, whose stride must be 1 and whose padding must keep the size.

    Raises:
        CheckpointMismatchError: for another stride or padding, or a kernel that is not square.
    """
    kernel = list(cell.get(f"{prefix}kernel_size", (3, 3, 3)))
    used = kernel if volume else kernel[:2]
    if len(set(used)) > 1 or used[0] % 2 == 0:
        refuse(f"{prefix}kernel_size", kernel, "one odd size for all axes")
    for name, wanted in ((f"{prefix}stride", 1), (f"{prefix}padding", used[0] // 2)):
        found = list(cell.get(name, [wanted] * 3))
        if any(number != wanted for number in (found if volume else found[:2])):
            refuse(name, found, f"only {wanted}, by which the size stays,")
    return int(used[0])


def chosen(name: str, value: object, choices: Mapping[str, str]) -> str:
    """Our name of a published choice.

    Raises:
        CheckpointMismatchError: for a choice that there is not.
    """
    if str(value) not in choices:
        refuse(name, value, f"only {', '.join(choices)}")
    return choices[str(value)]


def one_or_mapping(numbers: Mapping[Any, int]) -> int | dict[str, int]:
    """The number if all are equal, else one for each kind of cell."""
    return next(iter(numbers.values())) if len(set(numbers.values())) == 1 else dict(numbers)


def strides_of(cell: Mapping[str, Any], kinds: Sequence[str]) -> dict[str, int]:
    """Steps of queries and keys for each kind of cell.

    Raises:
        CheckpointMismatchError: for steps that differ along H and W, and for Swin, which loses resolution by them.
    """
    temporal = cell.get("stride_t", cell.get("temporal", {}).get("stride_qk", [1]))
    result = {}
    for kind in kinds:
        stride = list(temporal if kind == "temporal" else cell.get("stride_s", [1]))
        if len(set(stride[:2])) > 1 or (kind == "swin" and max(stride) > 1):
            refuse("stride_qk" if kind == "temporal" else "stride_s", stride, f"no such step of {kind} cells")
        result[kind] = int(stride[0])
    return result


def snraware_cell_options(cell: Mapping[str, Any], block_strings: Sequence[str]) -> dict[str, Any]:
    """Keywords of our cells from a published cell configuration.

    Args:
        cell: the configuration; sizes are (H, W, T).
        block_strings: the block strings it is used with, in our spelling; ViT and Swin cells get the 8 heads they
            always had.

    Raises:
        CheckpointMismatchError: names an option, or a value of one, that there is not here.
    """
    check_keys(cell, CELL_KEYS | KIND_KEYS.keys(), "cell.")
    for group, keys in KIND_KEYS.items():
        check_keys(cell.get(group, {}), keys, f"cell.{group}.")
    for place in (cell, cell.get("spatial_global", {}), cell.get("spatial_global_3d", {})):
        if place.get("shuffle_in_window", False):
            refuse("shuffle_in_window", True, "no random order")
    specs = [spec for string in block_strings for spec in parse_block_string(string)]
    kinds = list(dict.fromkeys(spec.kind for spec in specs if spec.kind != "conv"))
    heads = {kind: FIXED_HEADS if kind in ("vit", "swin") else int(cell["n_head"]) for kind in kinds}
    temporal = cell.get("temporal", {})
    pixel_heads = cell.get("temporal_multi_head_att_on_C_H_W", temporal.get("temporal_multi_head_att_on_C_H_W", False))
    volume = any(spec.spatial_dims == 3 for spec in specs)
    return {
        "window_size": _from_hwt(cell["window_size"]),
        "patch_size": _from_hwt(cell["patch_size"]),
        "num_heads": one_or_mapping(heads or {"conv": int(cell["n_head"])}),
        "norm": cell["norm_mode"],
        "act": _ACTS.get(cell["activation_func"], cell["activation_func"]),
        "mixer": chosen("mixer_type", cell["mixer_type"], _PROJECTIONS),
        "mixer_ratio": float(cell["scale_ratio_in_mixer"]),
        "mixer_kernel_size": square_kernel(cell, "mixer_", volume=False),
        "kernel_size": square_kernel(cell, "", volume=volume),
        "qkv": chosen("attention_type", cell["attention_type"], _PROJECTIONS),
        "qk_stride": one_or_mapping(strides_of(cell, kinds) or {"conv": 1}),
        "similarity": "cosine" if cell["cosine_att"] else "normalized" if cell["normalize_Q_K"] else "dot",
        "temporal_heads": "pixel" if pixel_heads else "channel",
        "causal": bool(cell.get("is_causal", False)),
        "position_bias": "after_softmax" if cell.get("att_with_relative_position_bias", True) else "none",
        "output_proj": bool(cell.get("att_with_output_proj", True)),
        "attention_dropout": float(cell.get("att_dropout_p", 0.0)),
        "drop_path": float(cell.get("dropout_p", 0.0)),
    }


def _from_hwt(size: Sequence[int]) -> tuple[int, int, int]:
    return int(size[2]), int(size[0]), int(size[1])


def snraware_backbone_options(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of our backbones, with ``backbone`` naming which, from a published backbone configuration.

    Raises:
        CheckpointMismatchError: names an option, or a value of one, that there is not here.
    """
    name = chosen("backbone.name", str(backbone["name"]).lower(), {n: n for n in ("hrnet", "unet", "soanet")})
    block = backbone["block"]
    check_keys(backbone, BACKBONE_KEYS, "backbone.")
    check_keys(block, BLOCK_KEYS, "backbone.block.")
    strings = [backbone["block_str"]] if isinstance(backbone["block_str"], str) else list(backbone["block_str"])
    strings = [published_block_string(string) for string in strings]
    options = snraware_cell_options(block["cell"], strings)
    if options["causal"]:
        refuse("is_causal", True, "no causal network to load: the published blocks never were, set it to false,")
    options |= {
        "backbone": name,
        "channels": int(backbone["num_of_channels"]),
        "block_strings": strings,
        "window_sizing": block["cell"]["window_sizing_method"],
        "interpolation": chosen("upsample_method", block["cell"]["upsample_method"], _INTERPOLATIONS),
        "cell_type": block["cell_type"],
        "dense": bool(block["block_dense_connection"]),
    }
    if name == "soanet":
        return options | {"stages": int(backbone["num_stages"]), "downsample": bool(backbone["downsample"])}
    options["levels"] = int(backbone["num_resolution_levels"])
    return options | ({"gated": bool(backbone["use_unet_attention"])} if name == "unet" else {})


def snraware_denoiser_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of :class:`~monai_stcnnt.networks.nets.STCNNTDenoiser` from a published training configuration.

    Raises:
        CheckpointMismatchError: names an option, or a value of one, that there is not here.
    """
    height, width, frames = config["dataset"]["cutout_shape"]
    used = frozenset(("backbone", "dataset", "lora", "scale_model_output_with_noise_level"))
    check_keys(config, used | TRAINING_SECTIONS, "")
    if config.get("scale_model_output_with_noise_level", False):
        refuse("scale_model_output_with_noise_level", True, "no output that depends on a noise level")
    if config.get("lora", {}).get("enabled", False):
        refuse(
            "lora.enabled", True, "no reader of these adapters: merge them where they were trained, set it to false,"
        )
    return {
        "in_channels": 3,
        "out_channels": 2,
        "img_size": (int(frames), int(height), int(width)),
        **snraware_backbone_options(config["backbone"]),
    }
