# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the centered transforms."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.mri.fft import fftc, ifftc

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
