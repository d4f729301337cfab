# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Levels of noise over an image: of noise alone, of a map, and of anatomy that hides them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_stcnnt.mri.axis_spectrum import AxisSpectrum
from monai_stcnnt.mri.noise import complex_noise
from monai_stcnnt.mri.noise_map import block_features, block_size, blocks, estimate_noise_field
from monai_stcnnt.mri.noise_model import from_acquired, to_acquired
from monai_stcnnt.mri.phantom import cine_phantom

__all__: list[str] = []

AXES = (AxisSpectrum(96), AxisSpectrum(96))


def noise(frames: int = 6) -> torch.Tensor:
    return complex_noise((frames, 96, 96), torch.Generator().manual_seed(0))


def image(clean: torch.Tensor, kind: str) -> torch.Tensor:
    """``(1, C, T, H, W)``."""
    return clean.abs()[None, None] if kind == "magnitude" else torch.stack((clean.real, clean.imag))[None]


@pytest.mark.parametrize("kind", ["complex", "magnitude"])
@pytest.mark.parametrize("signal", [6.0, 30.0])
@pytest.mark.parametrize("frames", [1, 6])
def test_noise_without_anatomy_has_its_level_everywhere(frames: int, signal: float, kind: str) -> None:
    field = estimate_noise_field(image(signal + 3 * noise(frames), kind), AXES)
    assert field is not None
    assert field.level == pytest.approx(3, rel=0.1)
    assert field.spread < 0.08


@pytest.mark.parametrize("kind", ["complex", "magnitude"])
def test_units_scale_the_levels(kind: str) -> None:
    clean = 10 * cine_phantom((6, 96, 96)).image + noise()
    one, many = (estimate_noise_field(image(factor * clean, kind), AXES) for factor in (1.0, 1000.0))
    assert one is not None
    assert many is not None
    torch.testing.assert_close(many.field, 1000 * one.field, rtol=1e-3, atol=0)
    assert many.spread == pytest.approx(one.spread, rel=1e-2)


@pytest.mark.parametrize("kind", ["complex", "magnitude"])
def test_levels_follow_a_map(kind: str) -> None:
    gmap = torch.linspace(1, 3, 96)[:, None].expand(96, 96)
    field = estimate_noise_field(image(10 * cine_phantom((6, 96, 96)).image + gmap * noise(), kind), AXES)
    assert field is not None
    rows = field.field[0, 0].mean(-1)
    expected = torch.linspace(1, 3, 2 * len(rows) + 1)[1::2]
    assert float((rows / expected - 1).abs().median()) < 0.1


def waves(values: torch.Tensor, axes: tuple[AxisSpectrum, AxisSpectrum], *, is_volume: bool = False) -> torch.Tensor:
    """Logarithms of the five levels by cosine transforms, means over the blocks."""
    features, _, reference = block_features(values, axes, is_volume)
    return features[:, 10:15].mean((0, 2, 3)) + reference


@pytest.mark.parametrize(("frames", "is_volume"), [(1, False), (3, False), (6, False), (12, True), (20, False)])
def test_most_waves_are_noise_whatever_is_smooth(frames: int, is_volume: bool) -> None:
    """All five tell the level under a strong slope along rows, columns and frames."""
    slope = (
        torch.linspace(50, 90, 96)[:, None] * torch.linspace(1, 3, 96) * torch.linspace(1, 1.2, frames)[:, None, None]
    )
    found = waves(image(slope + 3 * noise(frames), "complex"), AXES, is_volume=is_volume)
    torch.testing.assert_close(found, torch.full((5,), np.log(3.0)), rtol=0, atol=0.04)


def test_waves_are_looked_at_once_the_noise_is_white() -> None:
    """With the taper told; without it, fine ones seem to have less noise."""
    taper = tuple((0.3 + 0.7 * np.cos(np.linspace(-1.5, 1.5, 64))).tolist())
    axes = (AxisSpectrum(96, 16, 80, taper), AxisSpectrum(96, 16, 80, taper))
    values = from_acquired(complex_noise((6, 64, 64), torch.Generator().manual_seed(0)), axes)
    brought = image(50 + to_acquired(values, [axis.bare() for axis in axes]), "complex")
    torch.testing.assert_close(waves(brought, axes), torch.zeros(5), rtol=0, atol=0.04)
    bare = (AxisSpectrum(64), AxisSpectrum(64))
    assert float(waves(brought, bare)[1]) < -0.2


def test_anatomy_that_hides_the_noise_is_doubted() -> None:
    texture = torch.from_numpy(np.random.RandomState(0).rand(1, 96, 96).astype(np.float32))
    faint = estimate_noise_field((100 + 30 * texture + noise(1)).abs()[None, None], AXES)
    plain = estimate_noise_field((100 + noise(1)).abs()[None, None], AXES)
    assert faint is not None
    assert plain is not None
    assert faint.level > 3 * plain.level or faint.error > 2 * plain.error


@pytest.mark.parametrize("values", [torch.zeros(1, 1, 2, 96, 96), torch.rand(1, 1, 2, 12, 40)])
def test_where_there_is_nothing_to_measure_there_is_no_field(values: torch.Tensor) -> None:
    axes = (AxisSpectrum(values.shape[3]), AxisSpectrum(values.shape[4]))
    assert estimate_noise_field(values, axes) is None


def test_masked_blocks_do_not_count() -> None:
    values = image(10 + noise(), "magnitude")
    values[..., :48, :] = 0
    features, valid, _ = block_features(values, AXES)
    assert bool(torch.isfinite(features).all())
    assert not valid[..., :7, :].any()
    field = estimate_noise_field(values, AXES)
    assert field is not None
    assert field.level == pytest.approx(1, rel=0.12)
    assert bool(torch.isfinite(field.field).all())


def test_blocks_hold_what_is_in_them() -> None:
    assert block_size((20, 96, 130), is_volume=True) == (7, 4)
    assert [block_size((n, 30, 30), is_volume=True)[1] for n in (1, 5, 7, 8, 160)] == [1, 5, 3, 4, 16]
    values = torch.arange(4.0)[None, None, :, None, None].expand(1, 1, 4, 12, 12)
    assert blocks(values, 6, 2).mean(-1).flatten().tolist() == [0.5] * 4 + [2.5] * 4
