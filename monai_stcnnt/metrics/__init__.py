# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Numbers that MONAI does not have: quality of denoised images, volumes and function of segmented hearts."""

from __future__ import annotations

from monai_stcnnt.metrics.agreement import Agreement, bland_altman, ejection_fraction_spread
from monai_stcnnt.metrics.cumulative import MagnitudePSNRMetric, MagnitudeSSIMMetric
from monai_stcnnt.metrics.fidelity import magnitude_psnr, magnitude_ssim, peak_snr
from monai_stcnnt.metrics.flags import heart_flags, missing_slices
from monai_stcnnt.metrics.partial_labels import PartialDiceMetric, partial_overlaps
from monai_stcnnt.metrics.quality import residual_whiteness
from monai_stcnnt.metrics.ventricular import (
    MYOCARDIAL_DENSITY,
    VentricularFunction,
    class_areas,
    class_volumes,
    slice_distance,
    ventricular_function,
)
from monai_stcnnt.metrics.wall_thickness import AHA_SEGMENTS, SegmentThickness, segment_thickness

__all__ = [
    "AHA_SEGMENTS",
    "MYOCARDIAL_DENSITY",
    "Agreement",
    "MagnitudePSNRMetric",
    "MagnitudeSSIMMetric",
    "PartialDiceMetric",
    "SegmentThickness",
    "VentricularFunction",
    "bland_altman",
    "class_areas",
    "class_volumes",
    "ejection_fraction_spread",
    "heart_flags",
    "magnitude_psnr",
    "magnitude_ssim",
    "missing_slices",
    "partial_overlaps",
    "peak_snr",
    "residual_whiteness",
    "segment_thickness",
    "slice_distance",
    "ventricular_function",
]
