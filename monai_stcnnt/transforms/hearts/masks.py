# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""From probabilities of a stack of cines to masks that look like one heart."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform
from monai.utils.type_conversion import convert_to_dst_type, convert_to_tensor
from scipy import ndimage
from torch import Tensor

from monai_stcnnt.errors import LayoutError, OptionError
from monai_stcnnt.mri.hearts import VIEW_AREAS
from monai_stcnnt.transforms.hearts.drawn import pixel_spacing

__all__ = ["HeartMasksd", "SliceDecision", "heart_masks"]

RIGHT, WALL, CAVITY = 1, 2, 3
JUDGED_AREA = 100.0
"""Square mm: the decision about a slice looks at the surest part of the cavity of this size."""
WALL_REACH = 3.0
"""Millimeters around the cavity in which the wall is looked for."""
SURROUNDED_SHARE = 0.4
"""Of the cavity's surroundings that is wall at least, in a slice of the left ventricle. Readers draw the line to the
atrium where muscle is around half of the cavity; networks miss some of it, as it is thin there."""
LASTING_SHARE = 0.1
"""Of the largest part of the right ventricle over slices and frames; smaller parts are taken for something else."""
RIGHT_REACH = 12.0
"""Millimeters that the right ventricle may be away from the left one."""


@dataclass(frozen=True)
class SliceDecision:
    """What was decided about one slice.

    Attributes:
        contoured: whether it shows the left ventricle; else it lies above the base or below the apex.
        confidence: from 0.5, undecided, to 1.
    """

    contoured: bool
    confidence: float


def heart_masks(
    probabilities: Tensor, spacing: Sequence[float], smoothing: float = 0.0
) -> tuple[Tensor, list[SliceDecision]]:
    """Turn probabilities into masks of one heart.

    In turn: probabilities may be averaged over neighboring frames; a slice is contoured where in half of the frames the
    surest part of its cavity is more likely cavity than not, and muscle is around about half of the cavity
    (:data:`SURROUNDED_SHARE`), which is where readers draw the line between ventricle and atrium [1]; contoured slices
    follow each other; of cavity and wall the largest part that hangs together over slices and frames is kept, and in
    every frame the largest part of that; holes are filled; the cavity is one part, and the wall is closed around it;
    of the right ventricle the largest part beside the left one is kept, without what shows in few slices and frames
    only.

    Args:
        probabilities: ``(Z, 4, T, H, W)``: background, right ventricle, wall, cavity.
        spacing: size of a pixel (H, W) in mm.
        smoothing: share that each of the two neighboring frames gets, from 0 to a third.

    Returns:
        Masks ``(Z, 1, T, H, W)``, uint8, and the decision about every slice.

    Raises:
        LayoutError: for other axes or classes.
        OptionError: for another smoothing.

    References:
        [1] Schulz-Menger et al., "Standardized image interpretation and post-processing in cardiovascular magnetic
        resonance", 2020, https://doi.org/10.1186/s12968-020-00610-6
    """
    if probabilities.ndim != 5 or probabilities.shape[1] != CAVITY + 1:
        raise LayoutError(f"Probabilities of a heart are (Z, 4, T, H, W), not the shape {tuple(probabilities.shape)}.")
    if not 0 <= smoothing <= 1 / 3:
        raise OptionError(f"smoothing is a share from 0 to a third, not {smoothing}.")
    smooth = _over_time(probabilities.float(), smoothing)
    labels = smooth.argmax(1).cpu().numpy()
    decisions = _decide(smooth[:, CAVITY], labels, spacing)
    chosen = np.array([decision.contoured for decision in decisions])
    left = labels >= WALL
    left[~chosen] = False
    left, right = _largest(left), _lasting(labels == RIGHT)
    out = np.zeros(labels.shape, np.uint8)
    for z, t in np.argwhere(left.any((2, 3))):
        wall, cavity = _closed(_largest(left[z, t]), labels[z, t] == CAVITY)
        out[z, t][wall] = WALL
        out[z, t][cavity] = CAVITY
        out[z, t][_beside(right[z, t] & (out[z, t] == 0), wall | cavity, spacing)] = RIGHT
    return torch.from_numpy(out)[:, None], decisions


def _over_time(probabilities: Tensor, share: float) -> Tensor:
    """Average over neighboring frames; the first and the last one count twice at the ends."""
    if probabilities.shape[2] < 3 or share == 0:
        return probabilities
    before = torch.cat([probabilities[:, :, :1], probabilities[:, :, :-1]], dim=2)
    after = torch.cat([probabilities[:, :, 1:], probabilities[:, :, -1:]], dim=2)
    return (1 - 2 * share) * probabilities + share * (before + after)


def _decide(cavity: Tensor, labels: np.ndarray, spacing: Sequence[float]) -> list[SliceDecision]:
    """Which slices show the cavity, by its probability and the classes, (Z, T, H, W) each."""
    count = min(max(round(JUDGED_AREA / float(np.prod(spacing))), 1), cavity[0, 0].numel())
    evidence = cavity.flatten(2).topk(count, dim=2).values.mean(2).median(1).values.cpu().numpy()
    surrounded = np.array([_surrounded(one, spacing) for one in labels])
    evidence = np.minimum(evidence, 0.5 * surrounded / SURROUNDED_SHARE)
    shown = np.pad(evidence > 0.5, 1)
    shown = shown[1:-1] | (shown[:-2] & shown[2:])  # a gap of one slice is closed
    runs, _ = ndimage.label(shown)
    sizes = np.bincount(runs, minlength=2)[1:]
    kept = (runs == 1 + int(sizes.argmax())) & (runs > 0)
    sure = np.maximum(evidence, 1 - evidence)
    odd = kept != (evidence > 0.5)
    return [SliceDecision(bool(k), 0.5 if o else float(s)) for k, o, s in zip(kept, odd, sure, strict=True)]


def _surrounded(labels: np.ndarray, spacing: Sequence[float]) -> float:
    """Share of the cavity's surroundings that is wall, in the middle frame by it of (T, H, W); 1 without a cavity."""
    shares = []
    for frame in labels:
        cavity = _largest(frame == CAVITY)
        if cavity.any():
            distance = ndimage.distance_transform_edt(~cavity, sampling=list(spacing))
            around = frame[(distance > 0) & (distance <= WALL_REACH)] == WALL
            shares.append(around.mean() if around.size else 0.0)
    return float(np.median(shares)) if shares else 1.0


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest part of a mask that hangs together; an empty mask stays empty."""
    parts, number = ndimage.label(mask)
    if number < 2:
        return mask
    return np.asarray(parts == 1 + int(np.bincount(parts.ravel())[1:].argmax()))


def _lasting(mask: np.ndarray) -> np.ndarray:
    """The parts of a mask over slices and frames that are not small beside the largest one."""
    parts, number = ndimage.label(mask)
    if number < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= LASTING_SHARE * sizes.max())[parts])


def _closed(left: np.ndarray, cavity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wall and cavity of one frame: no holes, one cavity, and wall all around it."""
    left = ndimage.binary_fill_holes(left)
    inner = ndimage.binary_fill_holes(_largest(cavity & left))
    outer = ndimage.binary_fill_holes(left | ndimage.binary_dilation(inner))
    return outer & ~inner, inner


def _beside(right: np.ndarray, left: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """The largest part of the right ventricle that is near the left one."""
    part = _largest(right)
    if not part.any():
        return part
    distance = ndimage.distance_transform_edt(~left, sampling=list(spacing))
    return part if distance[part].min() <= RIGHT_REACH else np.zeros_like(part)


def _array(values: Tensor | None) -> np.ndarray | None:
    return None if values is None else values.cpu().numpy()


class HeartMasksd(MapTransform):
    """Turn the prediction for a stack into masks, see :func:`heart_masks`.

    Args:
        keys: logits (Z, 4, T, H, W), or logarithms of probabilities, of a file whose x are the columns; one key.
        smoothing: see :func:`heart_masks`.
        evidence_key: entry that holds afterwards what was known beside the masks: ``slices``, for every slice whether
            it is contoured (1 or 0) and how sure that is (Z, 2), and ``view_areas``, see
            :data:`monai_stcnnt.mri.hearts.VIEW_AREAS`, or None.
        allow_missing_keys: whether a missing key is accepted.

    Result: masks (Z, 1, T, H, W), uint8, with the metadata of the prediction.
    """

    def __init__(
        self,
        keys: KeysCollection,
        smoothing: float = 0.0,
        evidence_key: str = "evidence",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.smoothing, self.evidence_key = smoothing, evidence_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Convert every key."""
        d = dict(data)
        for key in self.key_iterator(d):
            logits = convert_to_tensor(d[key], track_meta=False).float()
            spacing = pixel_spacing(d[key])
            masks, decisions = heart_masks(logits.softmax(1), spacing, self.smoothing)
            slices = np.array([(s.contoured, s.confidence) for s in decisions])
            d[self.evidence_key] = {"slices": slices, VIEW_AREAS: _array(d[key].meta.get(VIEW_AREAS))}
            d[key] = convert_to_dst_type(masks, d[key], dtype=torch.uint8)[0]
        return d
