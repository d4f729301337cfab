# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Numbers that MONAI does not have: quality of denoised images, volumes and function of segmented hearts."""

from __future__ import annotations

from monai_stcnnt.metrics.cumulative import MagnitudePSNRMetric, MagnitudeSSIMMetric
from monai_stcnnt.metrics.fidelity import magnitude_psnr, magnitude_ssim, peak_snr
from monai_stcnnt.metrics.quality import residual_whiteness
from monai_stcnnt.metrics.ventricular import (
    MYOCARDIAL_DENSITY,
    VentricularFunction,
    class_areas,
    class_volumes,
    slice_distance,
    ventricular_function,
)

__all__ = [
    "MYOCARDIAL_DENSITY",
    "MagnitudePSNRMetric",
    "MagnitudeSSIMMetric",
    "VentricularFunction",
    "class_areas",
    "class_volumes",
    "magnitude_psnr",
    "magnitude_ssim",
    "peak_snr",
    "residual_whiteness",
    "slice_distance",
    "ventricular_function",
]
