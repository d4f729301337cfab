# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The inferer for hearts: it finds a beating disk anywhere, at any size of pixel, and brings its mask back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_stcnnt.errors import LayoutError, OptionError
from monai_stcnnt.inferers.heart import HeartInferer, motion_map
from monai_stcnnt.mri.hearts import VIEW_AREAS


class Threshold(torch.nn.Module):
    """Bright is cavity."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        zero = torch.zeros_like(x)
        return torch.cat([zero, zero - 50, zero - 50, 100 * (x - 0.5)], dim=1)


def scene(spacing: float, center: tuple[float, float]) -> MetaTensor:
    """(3, 1, 6, H, W) of 240 x 200 mm: a beating bright disk, and a larger one that does not move."""
    height, width = round(240 / spacing), round(200 / spacing)
    y, x = torch.arange(height)[:, None] * spacing, torch.arange(width)[None] * spacing
    frames = []
    for t in range(6):
        radius = 20 + 4 * np.cos(2 * np.pi * t / 6)
        beating = torch.hypot(y - center[0], x - center[1]) < radius
        frames.append((beating | (torch.hypot(y - 40, x - 40) < 24)).float())
    affine = torch.diag(torch.tensor([spacing, spacing, 8.0, 1.0]))
    return MetaTensor(torch.stack(frames).expand(3, 1, 6, height, width).clone(), affine=affine)


@pytest.mark.parametrize("spacing", [0.9, 1.4, 2.5])
def test_the_beating_disk_is_found_and_its_area_kept(spacing: float) -> None:
    image = scene(spacing, (150.0, 130.0))
    out = HeartInferer((64, 64), 1.75)(image, Threshold())
    assert isinstance(out, MetaTensor)
    cavity = out.as_tensor().argmax(1) == 3
    y, x = (cavity[0, 0].nonzero().double().mean(0) * spacing).tolist()
    assert (y, x) == pytest.approx((150, 130), abs=3)
    areas = cavity[0].sum((1, 2)) * spacing**2
    assert float(areas[0]) == pytest.approx(np.pi * 24**2, rel=0.06)
    assert float(areas[3]) == pytest.approx(np.pi * 16**2, rel=0.06)


def test_views_agree_for_a_network_without_a_preferred_direction() -> None:
    image = scene(1.75, (150.0, 130.0))
    one, eight = (HeartInferer((64, 64), 1.75, views)(image, Threshold()) for views in (1, 8))
    assert isinstance(one, MetaTensor)
    assert isinstance(eight, MetaTensor)
    torch.testing.assert_close(one.as_tensor(), eight.as_tensor(), atol=1e-3, rtol=1e-3)
    areas = eight.meta[VIEW_AREAS]
    assert areas.shape == (8, 3, 4, 6)
    np.testing.assert_allclose(areas.numpy().std(0), 0, atol=1e-3)


def test_results_are_logarithms_of_probabilities() -> None:
    out = HeartInferer((32, 32))(torch.rand(2, 1, 1, 40, 50), torch.nn.Conv3d(1, 4, 1))
    torch.testing.assert_close(out.exp().sum(1), torch.ones(2, 1, 40, 50), atol=1e-3, rtol=1e-3)


def test_motion_is_nothing_where_nothing_moves() -> None:
    assert bool((motion_map(torch.ones(2, 1, 5, 8, 8), (1.0, 1.0)) == 0).any()) is False
    moving = torch.zeros(1, 1, 4, 40, 40)
    moving[..., 1::2, 18:22, 8:12] = 1
    row, column = divmod(int(motion_map(moving, (2.0, 2.0))[0].flatten().argmax()), 40)
    assert row == pytest.approx(20, abs=1)
    assert column == pytest.approx(10, abs=1)


def test_the_wall_gives_a_share_to_the_background_only() -> None:
    probabilities = torch.tensor([0.3, 0.05, 0.4, 0.25])

    def same(x: torch.Tensor) -> torch.Tensor:
        return probabilities.log().view(1, 4, 1, 1, 1).expand(len(x), 4, *x.shape[2:])

    image = MetaTensor(torch.rand(2, 1, 3, 32, 32))
    plain, corrected = (HeartInferer((32, 32), 1.0, given_share=share)(image, same) for share in (0.0, 0.25))
    assert isinstance(plain, MetaTensor)
    assert isinstance(corrected, MetaTensor)
    torch.testing.assert_close(plain.as_tensor()[0, :, 0, 16, 16].exp(), probabilities)
    expected = torch.tensor([0.4, 0.05, 0.3, 0.25])
    torch.testing.assert_close(corrected.as_tensor()[0, :, 0, 16, 16].exp(), expected)
    assert bool((corrected.meta[VIEW_AREAS][:, :, 0] == 32 * 32).all()), "views are counted by the same rule"


def test_wrong_use_is_refused() -> None:
    with pytest.raises(OptionError, match="given_share"):
        HeartInferer(given_share=1.5)
    with pytest.raises(OptionError, match="views"):
        HeartInferer(views=3)
    with pytest.raises(LayoutError, match="Z, 1, T, H, W"):
        HeartInferer()(torch.rand(1, 2, 3, 16, 16), torch.nn.Identity())
