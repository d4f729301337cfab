# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Published HRNetV2 checkpoints, for classification and segmentation, as networks for any channels and classes.

The options of the network are read off the shapes of its weights. See Wang et al., IEEE TPAMI 2021,
https://doi.org/10.1109/TPAMI.2020.2983686.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from monai_stcnnt.checkpoints.states import load_strictly, mismatch_error, read_state_dict
from monai_stcnnt.errors import CheckpointMismatchError, NetworkConfigError
from monai_stcnnt.networks.hrnetv2.inflation import InflationMode, inflate_2d_to_3d
from monai_stcnnt.networks.hrnetv2.net import HRNETV2_VARIANTS, HRNetV2

__all__ = ["HRNetReport", "adapt_hrnet_state_dict", "hrnet_options", "load_hrnet"]

logger = logging.getLogger(__name__)

CLASSIFICATION_PARTS = ("incre_modules.", "downsamp_modules.", "final_layer.", "classifier.")
SEGMENTATION_HEAD = ("last_layer.",)
OCR_HEAD = ("aux_head.", "conv3x3_ocr.", "ocr_distri_head.", "cls_head.")
CLASS_LAYERS = ("last_layer.3.", "aux_head.3.", "cls_head.")
LANDMARKS = ("conv1.weight", "stage2.0.branches.0.0.conv1.weight")
COUNTER = ".num_batches_tracked"

Kind = Literal["classification", "segmentation", "segmentation with OCR"]


@dataclass(frozen=True)
class HRNetReport:
    """What was done to a checkpoint so that it fits the network.

    Attributes:
        source: the file, or "a state dict".
        kind: what the checkpoint was trained for.
        prefix: what stood in front of the names and was removed, such as ``module.``.
        loaded: number of entries of the network that come from the checkpoint.
        adapted: sentences, one per entry or group of entries whose values were changed to fit.
        reinitialized: names in the network that keep their random start.
        dropped: names in the checkpoint that the network has no use for.
    """

    source: str
    kind: Kind
    prefix: str
    loaded: int
    adapted: tuple[str, ...]
    reinitialized: tuple[str, ...]
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        """Say it in a few lines."""
        lines = [f"{self.source}: HRNetV2 for {self.kind}, {self.loaded} entries loaded"]
        lines += [f"prefix {self.prefix!r} removed"] if self.prefix else []
        lines += list(self.adapted)
        for names, what in ((self.reinitialized, "start at random"), (self.dropped, "dropped")):
            lines += [f"{len(names)} entries {what}: {', '.join(_parts(names))}"] if names else []
        return "\n  ".join(lines)


def load_hrnet(
    weights: str | Path | Mapping[str, Any],
    out_channels: int | None = None,
    in_channels: int | None = None,
    *,
    spatial_dims: Literal[2, 3] | None = None,
    inflation: InflationMode = "center",
    **options: Any,  # noqa: ANN401 - keywords of HRNetV2, checked there
) -> tuple[HRNetV2, HRNetReport]:
    """Build the network that a published checkpoint belongs to, and load it.

    Classification (ImageNet) and segmentation checkpoints, the latter with or without OCR, are taken; prefixes and
    nested dictionaries are resolved. Where the network differs from the checkpoint in image channels, classes, head or
    number of axes, the weights are adapted (see :func:`adapt_hrnet_state_dict`); everything else must fit.

    The published classification and segmentation networks expect RGB images in [0, 1], normalized by the mean and
    standard deviation of ImageNet per channel.

    Args:
        weights: a ``.pth`` or ``.safetensors`` file, or a state dict.
        out_channels: number of classes; None takes the checkpoint's (a classification checkpoint has none to take).
        in_channels: channels of the image; None takes the checkpoint's.
        spatial_dims: 2 or 3; None takes the checkpoint's. 2D weights are inflated to 3D.
        inflation: see :func:`monai_stcnnt.networks.hrnetv2.inflation.inflate_2d_to_3d`.
        **options: keywords of :class:`~monai_stcnnt.networks.hrnetv2.net.HRNetV2` that win over those that are read
            off the weights. ``align_corners`` cannot be read off them; it is True with an OCR head in the checkpoint
            and False without, as published.

    Returns:
        The network in eval mode, and the report of what was adapted.

    Raises:
        MissingFileError: if there is no such file.
        PickledCodeError: if the file holds more than tensors.
        UnreadableFileError: if the file is damaged or holds no state dict.
        CheckpointMismatchError: if the weights are not those of an HRNetV2, or not of the one that the options
            describe; the first ten entries that do not fit are listed, and how many more there are.
        NetworkConfigError: for options that do not fit together, and for a missing number of classes.
    """
    source = "a state dict" if isinstance(weights, Mapping) else str(weights)
    state_dict = read_state_dict(weights)
    given = {"out_channels": out_channels, "in_channels": in_channels, "spatial_dims": spatial_dims}
    chosen = {name: value for name, value in given.items() if value is not None}
    keywords = hrnet_options(state_dict, source) | chosen | options
    if keywords["out_channels"] is None:
        raise NetworkConfigError(f"{source} is a classification checkpoint. Give out_channels, the number of classes.")
    net = HRNetV2(**keywords)
    adapted, report = adapt_hrnet_state_dict(state_dict, net, inflation=inflation, source=source)
    load_strictly(net, adapted, source)
    logger.info("%s", report)
    return net.eval(), report


def hrnet_options(state_dict: Mapping[str, torch.Tensor], source: str = "a state dict") -> dict[str, Any]:
    """Read the keywords of :class:`~monai_stcnnt.networks.hrnetv2.net.HRNetV2` off the shapes of its weights.

    Args:
        state_dict: the weights, with or without a prefix.
        source: where they come from, for the message of the error.

    Returns:
        Keywords; ``out_channels`` is None where there is no segmentation head. What has no weights keeps its default,
        except ``align_corners``, which is True with an OCR head.

    Raises:
        CheckpointMismatchError: if these are not the weights of an HRNetV2; names that stand where others are expected
            are listed, the first ten, and how many more.
    """
    weights, _, _ = _without_prefix(state_dict)
    try:
        options = _trunk_options(weights) | _head_options(weights)
    except (KeyError, IndexError) as error:
        raise _stranger(weights, source) from error
    options["norm"] = "batch" if "bn1.running_mean" in weights else "instance"
    return options


def adapt_hrnet_state_dict(
    state_dict: Mapping[str, torch.Tensor],
    net: HRNetV2,
    *,
    inflation: InflationMode = "center",
    source: str = "a state dict",
) -> tuple[dict[str, torch.Tensor], HRNetReport]:
    """Fit published weights to a network that differs in channels, classes, head or number of axes.

    - Other image channels: the first kernel is summed over its channels and spread evenly over the new ones, so that a
      gray image gives the same features whether it comes once or as equal channels.
    - Other classes: the layers that end in classes keep the network's random start.
    - A classification checkpoint, or one with the other kind of head: the network's head keeps its random start.
    - 2D weights and a 3D network: kernels are inflated.
    - The classifier of a classification checkpoint and the losses of a training wrapper are dropped.

    What then still differs is left as it is, for a strict loading to refuse.

    Args:
        state_dict: the weights, with or without a prefix.
        net: the network, which is not changed.
        inflation: see :func:`monai_stcnnt.networks.hrnetv2.inflation.inflate_2d_to_3d`.
        source: where the weights come from, for the report.

    Returns:
        Weights for the network, and the report.

    Raises:
        CheckpointMismatchError: if a kernel cannot be inflated because its other extents differ as well.
    """
    weights, prefix, outside = _without_prefix(state_dict)
    own = net.state_dict()
    kind = _kind(weights)
    dropped = [name for name in weights if name.startswith(CLASSIFICATION_PARTS)]
    head = OCR_HEAD if net.ocr else SEGMENTATION_HEAD
    fresh: list[str] = []
    if not any(name.startswith(head) for name in weights):
        dropped += [name for name in weights if name.startswith(SEGMENTATION_HEAD + OCR_HEAD)]
        fresh = [name for name in own if name.startswith(head)]
    result = {name: tensor for name, tensor in weights.items() if name not in set(dropped)}
    notes = _adapt_image_channels(result, net.in_channels)
    fresh += [name for name in result if name.startswith(CLASS_LAYERS) and _classes_differ(result[name], own.get(name))]
    result |= {name: own[name].clone() for name in fresh}
    counters = [name for name in own if name.endswith(COUNTER) and name not in result]
    result |= {name: own[name].clone() for name in counters}
    if net.spatial_dims == 3 and result["conv1.weight"].dim() == 4:
        result = _inflated(result, net, inflation)
        notes.append(f"2D kernels inflated to 3D by {inflation!r}")
    report = HRNetReport(
        source=source,
        kind=kind,
        prefix=prefix,
        loaded=len(result) - len(fresh) - len(counters),
        adapted=tuple(notes),
        reinitialized=tuple(fresh),
        dropped=tuple(dropped + outside),
    )
    return result, report


def _without_prefix(state_dict: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], str, list[str]]:
    """Split weights into those of the network without the prefix, the prefix, and the names of a wrapper's loss."""
    prefixes = [name.removesuffix(LANDMARKS[0]) for name in state_dict if name.endswith(LANDMARKS[0])]
    prefix = min((p for p in prefixes if all(p + mark in state_dict for mark in LANDMARKS)), key=len, default="")
    wrapped = prefix.removesuffix("model.")
    losses = [name for name in state_dict if name.startswith(wrapped + "loss.")]
    inside = {name.removeprefix(prefix): tensor for name, tensor in state_dict.items() if name not in set(losses)}
    return inside, prefix, losses


def _count(weights: Mapping[str, torch.Tensor], start: str) -> int:
    """Number of different indices that follow ``start`` in the names."""
    return len({name.removeprefix(start).split(".")[0] for name in weights if name.startswith(start)})


def _trunk_options(weights: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    first = weights["conv1.weight"]
    stages = [f"stage{number}." for number in (2, 3, 4)]
    branches = [[f"{stage}0.branches.{b}." for b in range(_count(weights, f"{stage}0.branches."))] for stage in stages]
    modules = [_count(weights, stage) for stage in stages]
    return {
        "spatial_dims": first.dim() - 2,
        "in_channels": first.shape[1],
        "stem_channels": first.shape[0],
        "layer1_channels": weights["layer1.0.conv1.weight"].shape[0],
        "layer1_blocks": _count(weights, "layer1."),
        "channels": [[weights[f"{branch}0.conv1.weight"].shape[0] for branch in stage] for stage in branches],
        "num_blocks": [[_count(weights, branch) for branch in stage] for stage in branches],
        "num_modules": modules,
        "block": "bottleneck" if f"{branches[0][0]}0.conv3.weight" in weights else "basic",
        "multi_scale_output": _count(weights, f"stage4.{modules[2] - 1}.fuse_layers.") > 1,
    }


def _head_options(weights: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    kind = _kind(weights)
    if kind == "classification":
        return {"out_channels": None}
    if kind == "segmentation":
        last = weights["last_layer.3.weight"]
        return {"out_channels": last.shape[0], "final_kernel_size": last.shape[-1]}
    keys, pixels = weights["ocr_distri_head.object_context_block.f_pixel.0.weight"].shape[:2]
    classes = weights["cls_head.weight"].shape[0]
    return {"out_channels": classes, "ocr": True, "ocr_channels": (pixels, keys), "align_corners": True}


def _kind(weights: Mapping[str, torch.Tensor]) -> Kind:
    if "cls_head.weight" in weights:
        return "segmentation with OCR"
    return "segmentation" if "last_layer.3.weight" in weights else "classification"


def _stranger(weights: Mapping[str, torch.Tensor], source: str) -> CheckpointMismatchError:
    """The error for weights that are not an HRNetV2's, which compares them with the smallest published one."""
    with torch.device("meta"):
        net = HRNetV2(2, 3, 2, **HRNETV2_VARIANTS["hrnetv2_w18_small_v2"])
    return mismatch_error(net, weights, f"{source} holds no HRNetV2; it")


def _adapt_image_channels(weights: dict[str, torch.Tensor], in_channels: int) -> list[str]:
    """Spread the first kernel over another number of image channels, in place; say so."""
    kernel = weights["conv1.weight"]
    before = kernel.shape[1]
    if before == in_channels:
        return []
    spread = kernel.sum(dim=1, keepdim=True) / in_channels
    weights["conv1.weight"] = spread.repeat_interleave(in_channels, dim=1)
    return [f"conv1.weight: sum over {before} image channels spread evenly over {in_channels}"]


def _classes_differ(tensor: torch.Tensor, own: torch.Tensor | None) -> bool:
    """Whether a weight differs from the network's in the number of classes, and in nothing else but extra axes."""
    return own is not None and tensor.shape[0] != own.shape[0] and tensor.shape[1:2] == own.shape[1:2]


def _inflated(weights: dict[str, torch.Tensor], net: HRNetV2, mode: InflationMode) -> dict[str, torch.Tensor]:
    """Inflate the entries that the network knows and leave the others, for a strict loading to refuse."""
    own = net.state_dict()
    known = {name: weights.get(name, tensor) for name, tensor in own.items()}
    inflated = inflate_2d_to_3d(known, net, mode)
    return {name: inflated.get(name, tensor) for name, tensor in weights.items()}


def _parts(names: Iterable[str]) -> list[str]:
    """The first components of names, each once."""
    return list(dict.fromkeys(name.split(".")[0] for name in names))
