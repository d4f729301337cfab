# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the centered transforms and of the matrix size: what stays, and what noise does."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.errors import ImageSizeError
from monai_stcnnt.mri.fft import fftc, ifftc, resize_matrix
from monai_stcnnt.mri.noise import complex_noise

__all__: list[str] = []


@pytest.mark.parametrize("size", [(4,), (7, 8), (3, 5, 6)])
def test_inverse_and_energy(size: tuple[int, ...]) -> None:
    image = torch.randn(*size, dtype=torch.complex64)
    dims = tuple(range(len(size)))
    kspace = fftc(image, dims)
    torch.testing.assert_close(ifftc(kspace, dims), image)
    torch.testing.assert_close(kspace.abs().square().sum(), image.abs().square().sum())


def test_adjoint_is_the_inverse() -> None:
    a, b = torch.randn(2, 6, 5, dtype=torch.complex128)
    torch.testing.assert_close(torch.vdot(fftc(a).flatten(), b.flatten()), torch.vdot(a.flatten(), ifftc(b).flatten()))


@pytest.mark.parametrize("size", [(8, 6), (7, 9)])
def test_constant_image_is_a_point_at_the_center(size: tuple[int, int]) -> None:
    kspace = fftc(torch.ones(size))
    assert kspace[size[0] // 2, size[1] // 2].real == pytest.approx((size[0] * size[1]) ** 0.5)
    assert float(kspace.abs().sum()) == pytest.approx((size[0] * size[1]) ** 0.5, rel=1e-4)


def test_only_the_named_axes_change() -> None:
    image = torch.randn(3, 4, 5, dtype=torch.complex64)
    torch.testing.assert_close(fftc(image)[1], fftc(image[1]))


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


def test_alignments_differ_by_a_linear_phase() -> None:
    image = torch.randn(12, 12)
    a, b = resize_matrix(image, (9, 9)), resize_matrix(image, (9, 9), alignment="border")
    assert not torch.allclose(a, b, atol=1e-3)
    even = [resize_matrix(image, (8, 16), alignment=x) for x in ("origin", "border")]
    torch.testing.assert_close(*even)


def test_impossible_size() -> None:
    with pytest.raises(ImageSizeError, match="0"):
        resize_matrix(torch.ones(4, 4), (0, 4))
