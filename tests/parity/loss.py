# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Compare our losses and their gradients with the fixtures of the loss kind, each built from its own metadata."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from monai_stcnnt.losses.base import ClipLoss
from monai_stcnnt.losses.combined import WeightedSumLoss
from monai_stcnnt.losses.pixelwise import (
    CharbonnierLoss,
    ComplexL1Loss,
    ComplexMSELoss,
    ComplexRMSELoss,
    PerpendicularLoss,
    PSNRLoss,
)
from monai_stcnnt.losses.spectral import SpectralLoss
from monai_stcnnt.losses.structure import (
    ClipSSIMLoss,
    GaussianDerivativeLoss,
    gaussian_derivative,
    gaussian_derivative_kernel,
)
from monai_stcnnt.metrics.fidelity import peak_snr

__all__ = ["check"]

TOLERANCE = 1e-4
Options = dict[str, Any]
Loss = ClipLoss | WeightedSumLoss

LOSSES: dict[str, Callable[[Options], Loss]] = {
    "MSE_Loss": lambda o: ComplexRMSELoss() if o.get("rmse_mode") else ComplexMSELoss(),
    "L1_Loss": lambda _: ComplexL1Loss(),
    "Charbonnier_Loss": lambda o: CharbonnierLoss(o.get("eps", 1e-3)),
    "Perpendicular_Loss": lambda _: PerpendicularLoss(),
    "PSNR_Loss": lambda o: PSNRLoss(o.get("range", 1.0)),
    "SSIM_Loss": lambda o: ClipSSIMLoss(2, o.get("window_size", 11)),
    "SSIM3D_Loss": lambda o: ClipSSIMLoss(3, o.get("window_size", 11)),
    "GaussianDeriv_Loss": lambda o: GaussianDerivativeLoss(2, o.get("sigmas", (0.5, 1.0, 1.25))),
    "GaussianDeriv3D_Loss": lambda o: GaussianDerivativeLoss(
        3, o.get("sigmas", (0.5, 1.0, 1.25)), o.get("sigmas_T", (0.5, 1.0, 1.25))
    ),
    "Spectral_Loss": lambda o: SpectralLoss(o.get("min_bound", 5), o.get("max_bound", 95)),
    "Combined_Loss": lambda o: WeightedSumLoss([name.lower() for name in o["losses"]], o["loss_weights"]),
}


class Case(Protocol):
    """What is used of a fixture."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]


def check(case: Case) -> tuple[str, str]:
    """Compare one fixture.

    Returns:
        The status (``"match"``, ``"departure"`` or ``"skip"``) and a word about it.

    Raises:
        AssertionError: when numbers differ that should not.
        KeyError: when the loss of the fixture is not known.
    """
    options, tensors = case.config["args"], case.tensors
    if "outputs" not in tensors:
        return check_kernels(options, tensors)
    name = options["cls"]
    if name == "PSNR":
        ours = peak_snr(tensors["outputs"], tensors["targets"], options["range"])
        close(ours.reshape(-1), tensors["value"])
        return "match", ""
    if name in ("Wavelet_Loss", "VGGPerceptualLoss", "MSSSIM_Loss", "FSIM_Loss"):
        return "skip", "spectral, wavelet and perceptual losses are optional"
    loss = LOSSES[name](options)
    if "weights" in tensors:
        return check_weights(loss, tensors)
    prediction = tensors["outputs"].clone().requires_grad_()
    value = loss(prediction, tensors["targets"])
    close(value.detach().reshape(-1), tensors["value"])
    value.backward()
    assert prediction.grad is not None
    close(prediction.grad, tensors["grad_outputs"])
    return "match", "value and gradient"


def close(actual: Tensor, expected: Tensor) -> None:
    """Demand equality within the tolerance of the fixtures."""
    torch.testing.assert_close(actual.to(expected.dtype), expected, atol=TOLERANCE, rtol=TOLERANCE)


def check_kernels(options: Options, tensors: dict[str, Tensor]) -> tuple[str, str]:
    """Every kernel has its own arguments: one scale, or one per axis."""
    for name, kernel in options.items():
        sigma, order = kernel["sigma"], kernel["order"]
        if isinstance(sigma, list):
            ours = gaussian_derivative_kernel(sigma, order)
        else:
            ours = gaussian_derivative(sigma, order, kernel["halfwidth"], kernel["voxelsize"]).float()
        close(ours, tensors[name])
    return "match", ""


def check_weights(loss: Loss, tensors: dict[str, Tensor]) -> tuple[str, str]:
    """The published weighted losses depend on sizes by accident; ours is the weighted mean of the samples."""
    prediction, target, weight = tensors["outputs"], tensors["targets"], tensors["weights"]
    close(loss(prediction, target, torch.ones_like(weight)), loss(prediction, target))
    one_hot = torch.zeros_like(weight)
    one_hot[0] = 1
    moved = prediction.clone()
    moved[1:] = target[1:] + 0.9 * (moved[1:] - target[1:])
    close(loss(moved, target, one_hot), loss(prediction, target, one_hot))
    return "departure", "weighted losses: the weighted mean over samples and frames"
