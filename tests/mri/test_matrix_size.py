# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Resolution and matrix size: what stays, and what noise does."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from monai_stcnnt.errors import ImageSizeError
from monai_stcnnt.mri.fft import fftc
from monai_stcnnt.mri.matrix_size import reduce_resolution, resize_matrix, scale_matrix
from monai_stcnnt.mri.noise import complex_noise

__all__: list[str] = []


@pytest.mark.parametrize("sizes", [(12, 9), (17, 10), (16, 16), (8, 12)])
@pytest.mark.parametrize("old", [(12, 10), (11, 9)])
def test_padding_is_undone_by_cropping(old: tuple[int, int], sizes: tuple[int, int]) -> None:
    image = torch.randn(3, *old, dtype=torch.complex64)
    larger = tuple(max(a, b) for a, b in zip(old, sizes, strict=True))
    there = resize_matrix(image, larger, keep="signal")
    torch.testing.assert_close(resize_matrix(there, old, keep="signal"), image)
    torch.testing.assert_close(there.mean((1, 2)), image.mean((1, 2)))


@pytest.mark.parametrize("sizes", [(48, 64), (96, 80), (48, 96)])
def test_noise_level_stays(sizes: tuple[int, int]) -> None:
    noise = complex_noise((60, 64, 64), torch.Generator().manual_seed(0))
    out = resize_matrix(noise, sizes)
    assert out.shape == (60, *sizes)
    assert float(torch.view_as_real(out).std()) == pytest.approx(1, abs=0.01)
    assert float(torch.view_as_real(reduce_resolution(noise, (0.7, 0.9))).std()) == pytest.approx(1, abs=0.01)


def test_lower_resolution_keeps_the_mean_and_empties_the_border() -> None:
    image = torch.randn(16, 16)
    out = reduce_resolution(image, (0.5, 1.0), keep="signal")
    torch.testing.assert_close(out.mean().real, image.mean())
    kspace = fftc(out).abs()
    assert float(kspace[:4].max()) < 1e-5
    assert float(kspace[12:].max()) < 1e-5
    assert float(kspace[8, 0]) > 0


@pytest.mark.parametrize("keep", ["noise", "signal"])
def test_scaling_by_a_factor_is_resizing(keep: Literal["noise", "signal"]) -> None:
    image = torch.randn(10, 8)
    torch.testing.assert_close(scale_matrix(image, 1.5, keep=keep), resize_matrix(image, (15, 12), keep=keep))


def test_alignments_differ_by_a_linear_phase() -> None:
    image = torch.randn(12, 12)
    a, b = resize_matrix(image, (9, 9)), resize_matrix(image, (9, 9), alignment="border")
    assert not torch.allclose(a, b, atol=1e-3)
    even = [resize_matrix(image, (8, 16), alignment=x) for x in ("origin", "border")]
    torch.testing.assert_close(*even)


def test_impossible_size() -> None:
    with pytest.raises(ImageSizeError, match="0"):
        resize_matrix(torch.ones(4, 4), (0, 4))
