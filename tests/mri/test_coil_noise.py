# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Noise scans and pseudo-replicas, against known covariances and g-factors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from monai_stcnnt.errors import NoiseLevelError
from monai_stcnnt.mri.fft import fftc, ifftc
from monai_stcnnt.mri.gfactor import coil_sensitivities, pseudo_replica_gfactor, replica_noise_map, sense_gfactor
from monai_stcnnt.mri.noise import complex_noise, noise_covariance, prewhiten

__all__: list[str] = []


def test_whitened_noise_is_white() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(3, 3, dtype=torch.complex64, generator=generator)
    scan = mixing @ complex_noise((3, 20000), generator)
    covariance = noise_covariance(scan)
    torch.testing.assert_close(covariance, mixing @ mixing.mH, atol=0.1, rtol=0.05)
    whitened = prewhiten(scan.reshape(3, 100, 200), covariance)
    torch.testing.assert_close(noise_covariance(whitened), torch.eye(3, dtype=torch.complex64), atol=1e-3, rtol=0)


def test_level_and_bandwidth() -> None:
    scan = complex_noise((5, 50, 40), torch.Generator().manual_seed(0), sigma=3.0) + 7
    for ratio, level in ((1.0, 3.0), (4.0, 6.0)):
        variance = noise_covariance(scan.reshape(1, -1), bandwidth_ratio=ratio)
        assert math.sqrt(float(variance.real)) == pytest.approx(level, rel=0.03)


def test_scans_without_information_are_refused() -> None:
    with pytest.raises(NoiseLevelError, match="too few"):
        noise_covariance(torch.ones(4, 3, dtype=torch.complex64))
    with pytest.raises(NoiseLevelError, match="without noise"):
        noise_covariance(torch.ones(1, 10, dtype=torch.complex64))
    with pytest.raises(NoiseLevelError, match="positive definite"):
        prewhiten(torch.ones(2, 5), torch.ones(2, 2, dtype=torch.complex64))
    with pytest.raises(NoiseLevelError, match="replicas"):
        replica_noise_map(ifftc, torch.ones(2, 2), 1, torch.Generator())


def test_replicas_find_the_gfactor_of_sense() -> None:
    angles = 2 * np.pi * np.arange(6) / 6
    sensitivities = coil_sensitivities((8, 6), 1.3 * np.stack((np.sin(angles), np.cos(angles)), 1))
    weight = sensitivities.abs().square().sum(0)

    def combine(kspace: torch.Tensor) -> torch.Tensor:
        return (sensitivities.conj() * ifftc(kspace)).sum(0) / weight

    def sense(kspace: torch.Tensor) -> torch.Tensor:
        folded = torch.stack((sensitivities[:, :4], sensitivities[:, 4:]), -1).permute(1, 2, 0, 3)
        aliased = (2 * ifftc(kspace))[:, :4].permute(1, 2, 0)[..., None]
        unfolded = (torch.linalg.pinv(folded) @ aliased)[..., 0]
        return torch.cat((unfolded[..., 0], unfolded[..., 1]))

    image = torch.rand(8, 6).to(torch.complex64)
    kspace = fftc(sensitivities * image)
    undersampled = kspace.clone()
    undersampled[:, 1::2] = 0
    torch.testing.assert_close(sense(undersampled), image, atol=1e-3, rtol=1e-3)
    generator = torch.Generator().manual_seed(0)
    accelerated = replica_noise_map(sense, undersampled, 400, generator)
    full = replica_noise_map(combine, kspace, 400, generator)
    gfactor = pseudo_replica_gfactor(accelerated, full, acceleration=2)
    torch.testing.assert_close(gfactor, sense_gfactor(sensitivities, (2, 1), 0.0), rtol=0.2, atol=0)
    torch.testing.assert_close(gfactor.mean(), sense_gfactor(sensitivities, (2, 1), 0.0).mean(), rtol=0.02, atol=0)
