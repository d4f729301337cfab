# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Quality-control numbers of denoised images that MONAI does not have."""

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

__all__ = [
    "MagnitudePSNRMetric",
    "MagnitudeSSIMMetric",
    "TemporalFidelityMetric",
    "contrast_to_noise",
    "magnitude_psnr",
    "magnitude_ssim",
    "peak_snr",
    "residual_level",
    "residual_whiteness",
    "snr_gain",
    "temporal_fidelity",
    "temporal_sharpness",
]
