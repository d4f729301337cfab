# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Losses on complex or magnitude clips ``(B, C, T, H, W)``, by name and weight, and on labels of some frames."""

from __future__ import annotations

from monai_stcnnt.losses.base import ClipLoss, clip_magnitude, weighted_mean
from monai_stcnnt.losses.combined import LOSSES, WeightedSumLoss
from monai_stcnnt.losses.labelled_frames import LabelledFramesLoss
from monai_stcnnt.losses.partial_labels import PartialLabelLoss
from monai_stcnnt.losses.pixelwise import (
    CharbonnierLoss,
    ComplexL1Loss,
    ComplexMSELoss,
    ComplexRMSELoss,
    LogMSELoss,
    PerpendicularLoss,
    PSNRLoss,
    perpendicular_error,
)
from monai_stcnnt.losses.spectral import SpectralLoss
from monai_stcnnt.losses.structure import (
    ClipSSIMLoss,
    GaussianDerivativeLoss,
    gaussian_derivative,
    gaussian_derivative_kernel,
)

__all__ = [
    "LOSSES",
    "CharbonnierLoss",
    "ClipLoss",
    "ClipSSIMLoss",
    "ComplexL1Loss",
    "ComplexMSELoss",
    "ComplexRMSELoss",
    "GaussianDerivativeLoss",
    "LabelledFramesLoss",
    "LogMSELoss",
    "PSNRLoss",
    "PartialLabelLoss",
    "PerpendicularLoss",
    "SpectralLoss",
    "WeightedSumLoss",
    "clip_magnitude",
    "gaussian_derivative",
    "gaussian_derivative_kernel",
    "perpendicular_error",
    "weighted_mean",
]
