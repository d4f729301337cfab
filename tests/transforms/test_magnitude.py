# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Normalized magnitudes: no unit, slice by slice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.transforms import NormalizeMagnitude, NormalizeMagnituded


def test_the_unit_is_gone_and_slices_do_not_see_each_other() -> None:
    image = torch.rand(3, 1, 2, 6, 5)
    out = NormalizeMagnitude()(image)
    torch.testing.assert_close(NormalizeMagnitude()(1000 * image), out)
    torch.testing.assert_close(NormalizeMagnitude()(image[1:2]), out[1:2])
    torch.testing.assert_close(NormalizeMagnitude()(image[1]), out[1])
    assert np.percentile(out[0].numpy(), 99) == pytest.approx(1, rel=1e-5)


def test_complex_images_become_magnitudes() -> None:
    image = MetaTensor(torch.randn(2, 2, 3, 4, 5), meta={"kind": "complex"})
    out = NormalizeMagnituded("image", 100)({"image": image})["image"]
    assert isinstance(out, MetaTensor)
    assert out.shape == (2, 1, 3, 4, 5)
    assert out.meta["kind"] == "magnitude"
    assert float(out.amax()) == pytest.approx(1)


def test_a_slice_of_zeros_stays() -> None:
    out = NormalizeMagnitude()(np.zeros((1, 1, 1, 3, 3), np.float32))
    assert isinstance(out, np.ndarray)
    assert not out.any()


def test_wrong_use_is_refused() -> None:
    with pytest.raises(ValueError, match="percentile is 0"):
        NormalizeMagnitude(0)
    with pytest.raises(LayoutError, match="found shape"):
        NormalizeMagnitude()(torch.rand(3, 3))
