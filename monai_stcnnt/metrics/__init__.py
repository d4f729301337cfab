# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Numbers that MONAI does not have: quality of denoised images, volumes and function of segmented hearts."""

from __future__ import annotations

from monai_stcnnt.metrics.cumulative import (
    MagnitudePSNRMetric,
    MagnitudeSSIMMetric,
    TemporalFidelityMetric,
)
from monai_stcnnt.metrics.fidelity import (
    magnitude_psnr,
    magnitude_ssim,
    peak_snr,
    snr_gain,
    temporal_fidelity,
    temporal_sharpness,
)
from monai_stcnnt.metrics.quality import (
    contrast_to_noise,
    residual_level,
    residual_whiteness,
)
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
    "TemporalFidelityMetric",
    "VentricularFunction",
    "class_areas",
    "class_volumes",
    "contrast_to_noise",
    "magnitude_psnr",
    "magnitude_ssim",
    "peak_snr",
    "residual_level",
    "residual_whiteness",
    "slice_distance",
    "snr_gain",
    "temporal_fidelity",
    "temporal_sharpness",
    "ventricular_function",
]
