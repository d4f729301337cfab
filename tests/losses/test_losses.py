# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws that every loss keeps, by its name."""

from __future__ import annotations

import pytest
import torch

from monai_stcnnt.errors import LayoutError, OptionError
from monai_stcnnt.losses.base import ClipLoss
from monai_stcnnt.losses.combined import LOSSES, WeightedSumLoss
from monai_stcnnt.losses.pixelwise import CharbonnierLoss, PerpendicularLoss, PSNRLoss
from monai_stcnnt.losses.spectral import SpectralLoss
from monai_stcnnt.losses.structure import (
    ClipSSIMLoss,
    GaussianDerivativeLoss,
    gaussian_derivative,
    gaussian_derivative_kernel,
)

__all__: list[str] = []

SHAPE = (3, 2, 3, 9, 10)
DISTANCES = [name for name in LOSSES if name != "psnr"]


def pair(channels: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """A target and a prediction near it."""
    generator = torch.Generator().manual_seed(0)
    target = 1 + torch.randn(3, channels, *SHAPE[2:], generator=generator)
    return target + 0.3 * torch.randn(target.shape, generator=generator), target


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", DISTANCES)
def test_zero_for_the_truth_and_more_for_the_rest(name: str, channels: int) -> None:
    prediction, target = pair(channels)
    if channels == 1:
        prediction, target = prediction.abs(), target.abs()
    assert float(LOSSES[name]()(target, target)) == pytest.approx(0, abs=2e-3)
    if name != "perpendicular" or channels == 2:
        assert float(LOSSES[name]()(prediction, target)) > 0.005


@pytest.mark.parametrize("name", LOSSES)
def test_more_error_more_loss(name: str) -> None:
    prediction, target = pair()
    halfway = target + 0.5 * (prediction - target)
    assert float(LOSSES[name]()(halfway, target)) < float(LOSSES[name]()(prediction, target))


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_reaches_every_pixel_and_stays_finite(name: str) -> None:
    prediction, target = pair()
    for start in (prediction, torch.zeros_like(target)):
        leaf = start.clone().requires_grad_()
        LOSSES[name]()(leaf, target).backward()
        assert leaf.grad is not None
        assert bool(torch.isfinite(leaf.grad).all())
    leaf = prediction.clone().requires_grad_()
    LOSSES[name]()(leaf, target).backward()
    assert leaf.grad is not None
    assert float((leaf.grad != 0).float().mean()) > (0.5 if name == "spectral" else 0.99)


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("ssim", "ssim3d")])
def test_gradcheck(name: str) -> None:
    target = 2 + torch.rand(1, 2, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    prediction = (target + 0.1 + 0.2 * torch.rand(target.shape, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: LOSSES[name]()(x, target), (prediction,))


@pytest.mark.parametrize("name", ["ssim", "ssim3d"])
def test_gradient_of_ssim_is_its_slope(name: str) -> None:
    prediction, target = pair()
    direction = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    leaf = prediction.clone().requires_grad_()
    LOSSES[name]()(leaf, target).backward()
    assert leaf.grad is not None
    step = 1e-2
    values = [float(LOSSES[name]()(prediction + s * direction, target)) for s in (step, -step)]
    assert float((leaf.grad * direction).sum()) == pytest.approx((values[0] - values[1]) / (2 * step), rel=0.03)


@pytest.mark.parametrize("name", LOSSES)
def test_weights_pick_samples_and_frames(name: str) -> None:
    loss = LOSSES[name]()
    prediction, target = pair()
    values = loss.frame_values(prediction, target)
    assert values.shape == (3, 3)
    torch.testing.assert_close(loss(prediction, target), values.mean())
    torch.testing.assert_close(loss(prediction, target, torch.full((3,), 0.3)), values.mean())
    torch.testing.assert_close(loss(prediction, target, torch.tensor([0.0, 5.0, 0.0])), values[1].mean())
    one_frame = torch.zeros(3, 3)
    one_frame[2, 0] = 2.0
    torch.testing.assert_close(loss(prediction, target, one_frame), values[2, 0])


@pytest.mark.parametrize("name", [name for name in LOSSES if not name.startswith("ssim")])
def test_samples_do_not_mix(name: str) -> None:
    prediction, target = pair()
    each = torch.stack([LOSSES[name]()(prediction[i : i + 1], target[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(LOSSES[name]()(prediction, target), each.mean())


@pytest.mark.parametrize("weight", [torch.ones(2), torch.ones(3, 2), torch.ones(3, 3, 1)])
def test_weights_of_the_wrong_shape(weight: torch.Tensor) -> None:
    with pytest.raises(LayoutError, match="weights"):
        LOSSES["mse"]()(*pair(), weight)


@pytest.mark.parametrize("weight", [torch.zeros(3), torch.tensor([1.0, -1.0, 0.0])])
def test_weights_that_weigh_nothing(weight: torch.Tensor) -> None:
    with pytest.raises(OptionError, match="weights"):
        LOSSES["mse"]()(*pair(), weight)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5, 5), (2, 2, 5, 5), (2, 2, 4, 5, 6)])
def test_layout_is_checked(shape: tuple[int, ...]) -> None:
    with pytest.raises(LayoutError, match=r"\(B, C, T, H, W\)"):
        LOSSES["l1"]()(torch.zeros(shape), torch.zeros(2, 2, 4, 5, 5) if shape[1] != 3 else torch.zeros(shape))


def test_base_has_no_values() -> None:
    with pytest.raises(NotImplementedError):
        ClipLoss()(*pair())


def test_sum_of_names_and_modules() -> None:
    prediction, target = pair()
    expected = 0.5 * LOSSES["mse"]()(prediction, target) + 2 * CharbonnierLoss(0.1)(prediction, target)
    torch.testing.assert_close(WeightedSumLoss(["mse", CharbonnierLoss(0.1)], [0.5, 2])(prediction, target), expected)
    built = WeightedSumLoss(["mse", "ssim"], [0.5, 3])(prediction.half(), target.half())
    assert built.dtype == torch.float32
    named = WeightedSumLoss(["mse", "l1"])(prediction, target)
    torch.testing.assert_close(named, LOSSES["mse"]()(prediction, target) + LOSSES["l1"]()(prediction, target))


def test_wrong_sums() -> None:
    with pytest.raises(OptionError, match="charbonnier"):
        WeightedSumLoss(["mean"])
    with pytest.raises(OptionError, match="at least one"):
        WeightedSumLoss([])
    with pytest.raises(OptionError, match="weight for each"):
        WeightedSumLoss(["mse"], [1, 2])


def test_complex_losses_do_not_see_a_common_rotation() -> None:
    prediction, target = pair()
    for name in ("mse", "rmse", "charbonnier", "perpendicular", "ssim", "gaussian3d"):
        turned = [torch.stack((-x[:, 1], x[:, 0]), 1) for x in (prediction, target)]
        expected = LOSSES[name]()(prediction, target)
        torch.testing.assert_close(LOSSES[name]()(*turned), expected, rtol=1e-4, atol=1e-5)


def test_perpendicular_error_of_known_angles() -> None:
    target = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1, 1)
    for degrees, expected in ((0, 0.0), (30, 0.5), (90, 1.0), (150, 1.5), (180, 2.0)):
        angle = torch.deg2rad(torch.tensor(float(degrees)))
        prediction = 3 * torch.stack((angle.cos(), angle.sin())).reshape(1, 2, 1, 1, 1)
        assert float(PerpendicularLoss()(prediction, target)) == pytest.approx(expected, abs=1e-3)


def test_ssim_is_one_image_wide_at_most() -> None:
    prediction, target = pair()
    assert 0 < float(ClipSSIMLoss(3, win_size=31)(prediction, target)) < 1
    flat = torch.full((1, 1, 2, 4, 4), 5.0)
    assert float(ClipSSIMLoss()(flat, flat)) == pytest.approx(0, abs=1e-2)
    assert float(ClipSSIMLoss(k1=0.5, k2=0.5)(prediction, target)) < float(ClipSSIMLoss()(prediction, target))


def test_gaussian_kernels() -> None:
    smooth, slope, bend = (gaussian_derivative(1.25, order) for order in (0, 1, 2))
    assert float(smooth.sum()) == pytest.approx(1)
    assert float(slope.sum()) == pytest.approx(0, abs=1e-9)
    torch.testing.assert_close(slope, -slope.flip(0))
    torch.testing.assert_close(bend, bend.flip(0))
    assert gaussian_derivative(1.25, 0, halfwidth=2.0, spacing=0.5).numel() == 11
    assert float(gaussian_derivative_kernel((0.5, 1.0), (1, 0)).abs().sum()) == pytest.approx(1)


def test_gaussian_loss_of_frames_does_not_look_over_frames() -> None:
    prediction, target = pair()
    frames = GaussianDerivativeLoss(2)
    swapped = [x.flip(2) for x in (prediction, target)]
    torch.testing.assert_close(frames.frame_values(*swapped), frames.frame_values(prediction, target).flip(1))
    still = [x[:, :, :1].expand_as(x) for x in (prediction, target)]
    moved = GaussianDerivativeLoss(3, (1.0,), (0.5,))
    assert float(moved.frame_values(*still)[:, 1].max()) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("cls", "kwargs"),
    [
        (PSNRLoss, {"data_range": 0.0}),
        (ClipSSIMLoss, {"spatial_dims": 1}),
        (ClipSSIMLoss, {"win_size": 0}),
        (GaussianDerivativeLoss, {"spatial_dims": 4}),
        (GaussianDerivativeLoss, {"temporal_sigmas": (1.0, 1.0, 1.0)}),
        (GaussianDerivativeLoss, {"spatial_dims": 3, "temporal_sigmas": (1.0,)}),
        (GaussianDerivativeLoss, {"sigmas": (0.0,)}),
        (GaussianDerivativeLoss, {"sigmas": ()}),
        (SpectralLoss, {"min_bound": 60, "max_bound": 40}),
    ],
)
def test_wrong_options(cls: type[ClipLoss], kwargs: dict[str, object]) -> None:
    with pytest.raises(OptionError, match=r"[Gg]ive|[Cc]hoose"):
        cls(**kwargs)
