# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Of every class the largest part of a frame stays, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.transforms import KeepLargestPerFrame, KeepLargestPerFramed

__all__: list[str] = []


def mask_with_specks() -> tuple[torch.Tensor, torch.Tensor]:
    """A mask ``(1, X, Y, Z, T)`` with specks that touch the body of the next frame in time, and the same without."""
    clean = torch.zeros(1, 12, 12, 3, 2, dtype=torch.uint8)
    clean[0, 1:5, 1:5, :, 0] = 1
    clean[0, 6:10, 6:10, :2, 0] = 2
    clean[0, 7:11, 7:11, :, 1] = 1
    specked = clean.clone()
    specked[0, 10, 10, 0, 0] = 1
    specked[0, 2, 2, 1, 1] = 1
    specked[0, 0, 10, 2, 0] = 2
    return specked, clean


def test_specks_go_in_each_frame_on_its_own() -> None:
    specked, clean = mask_with_specks()
    before = specked.clone()
    assert torch.equal(torch.as_tensor(KeepLargestPerFrame()(specked)), clean)
    assert torch.equal(specked, before)


def test_chosen_classes_only() -> None:
    specked, clean = mask_with_specks()
    out = KeepLargestPerFrame(applied_labels=[2])(specked)
    assert torch.equal(out == 2, clean == 2)
    assert torch.equal(out == 1, specked == 1)


def test_corners_connect_unless_told_otherwise() -> None:
    mask = torch.zeros(1, 4, 4)
    mask[0, 0, 0] = mask[0, 1, 1] = mask[0, 1, 2] = 1
    assert torch.equal(torch.as_tensor(KeepLargestPerFrame()(mask)), mask)
    assert KeepLargestPerFrame(connectivity=1)(mask).sum() == 2


def test_type_and_metadata_stay() -> None:
    specked, clean = mask_with_specks()
    image = MetaTensor(specked, meta={"source": "a.nii"}, applied_operations=[{"class": "x"}])
    out = KeepLargestPerFramed("pred")({"pred": image})["pred"]
    assert isinstance(out, MetaTensor)
    assert out.dtype == torch.uint8
    assert out.meta["source"] == "a.nii"
    assert out.applied_operations == image.applied_operations
    array = KeepLargestPerFrame()(specked.numpy())
    assert isinstance(array, np.ndarray)
    np.testing.assert_array_equal(array, clean.numpy())


def test_empty_mask_stays_empty() -> None:
    assert not KeepLargestPerFrame()(torch.zeros(1, 4, 4, 2, 3)).any()


def test_other_axes_are_refused() -> None:
    with pytest.raises(LayoutError, match="axes"):
        KeepLargestPerFrame()(torch.zeros(2, 4, 4))
