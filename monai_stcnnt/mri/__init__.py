# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""MR physics as pure tensor functions: Fourier transforms, k-space filters, noise, SNR units, g-factor, phase."""

from __future__ import annotations

from monai_stcnnt.mri.channels import (
    channels_to_complex,
    complex_to_channels,
    image_magnitude,
)
from monai_stcnnt.mri.fft import (
    Alignment,
    Keep,
    fftc,
    ifftc,
    resize_matrix,
)
from monai_stcnnt.mri.gfactor import (
    check_gfactor_map,
    coil_sensitivities,
    draw_gfactor_map,
    sense_gfactor,
)
from monai_stcnnt.mri.kspace_filter import (
    Normalization,
    apply_kspace_filter,
    asymmetric_filter,
    elliptic_support,
    filter_image,
    gaussian_filter,
    hanning_taper,
    noise_gain,
    normalize_filter,
    partial_fourier_filter,
    resolution_filter,
)
from monai_stcnnt.mri.noise import (
    ColoringStep,
    NoiseColoring,
    RandomSource,
    amplify_noise,
    color_noise,
    coloring_weights,
    complex_noise,
    draw_coloring,
    filter_signal,
    noncentral_chi_magnitude,
    rician_magnitude,
)
from monai_stcnnt.mri.noise_level import (
    NoiseEstimate,
    NoiseSource,
    background_noise_level,
    estimate_noise_level,
    temporal_noise_level,
    wavelet_noise_level,
)
from monai_stcnnt.mri.noise_scan import (
    noise_covariance,
    prewhiten,
    pseudo_replica_gfactor,
    replica_noise_map,
)
from monai_stcnnt.mri.phantom import (
    CINE_LABELS,
    CinePhantom,
    cine_phantom,
    random_shapes,
)
from monai_stcnnt.mri.phase import (
    radians_per_unit,
    smooth_field,
    smooth_phase,
)
from monai_stcnnt.mri.rician import (
    rician_mean,
    rician_shape,
    rician_signal,
    rician_variance_factor,
)
from monai_stcnnt.mri.snr import (
    foreground_mask,
    foreground_mean,
    image_snr,
    snr_scale,
)

__all__ = [
    "CINE_LABELS",
    "Alignment",
    "CinePhantom",
    "ColoringStep",
    "Keep",
    "NoiseColoring",
    "NoiseEstimate",
    "NoiseSource",
    "Normalization",
    "RandomSource",
    "amplify_noise",
    "apply_kspace_filter",
    "asymmetric_filter",
    "background_noise_level",
    "channels_to_complex",
    "check_gfactor_map",
    "cine_phantom",
    "coil_sensitivities",
    "color_noise",
    "coloring_weights",
    "complex_noise",
    "complex_to_channels",
    "draw_coloring",
    "draw_gfactor_map",
    "elliptic_support",
    "estimate_noise_level",
    "fftc",
    "filter_image",
    "filter_signal",
    "foreground_mask",
    "foreground_mean",
    "gaussian_filter",
    "hanning_taper",
    "ifftc",
    "image_magnitude",
    "image_snr",
    "noise_covariance",
    "noise_gain",
    "noncentral_chi_magnitude",
    "normalize_filter",
    "partial_fourier_filter",
    "prewhiten",
    "pseudo_replica_gfactor",
    "radians_per_unit",
    "random_shapes",
    "replica_noise_map",
    "resize_matrix",
    "resolution_filter",
    "rician_magnitude",
    "rician_mean",
    "rician_shape",
    "rician_signal",
    "rician_variance_factor",
    "sense_gfactor",
    "smooth_field",
    "smooth_phase",
    "snr_scale",
    "temporal_noise_level",
    "wavelet_noise_level",
]
