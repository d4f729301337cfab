# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws that the shipped weights keep: nothing out of noise, clean images as they are, no bias, no units.

All in SNR units, where the noise has standard deviation 1 per component, on simulated images whose truth is known.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from monai_stcnnt.apps import denoise
from monai_stcnnt.apps.bundles import bundle_folder
from monai_stcnnt.checkpoints import load_weights
from monai_stcnnt.data import SeriesRecord, read_series, write_nifti
from monai_stcnnt.inferers import FrameSlidingWindowInferer
from monai_stcnnt.mri.axis_spectrum import AxisSpectrum
from monai_stcnnt.mri.noise import complex_noise
from monai_stcnnt.mri.noise_level import estimate_noise_level
from monai_stcnnt.mri.noise_model import demodulate, from_acquired, to_acquired
from monai_stcnnt.mri.phantom import cine_phantom
from monai_stcnnt.mri.rician import rician_mean
from monai_stcnnt.mri.snr import foreground_mask, foreground_mean
from monai_stcnnt.networks.nets import build_variant

__all__: list[str] = []

Mode = Literal["complex", "magnitude"]
Denoiser = Callable[[torch.Tensor], torch.Tensor]

SIZE = (12, 64, 64)
WINDOW = (16, 64, 64)
"""The bundle's own."""


@pytest.fixture(scope="module", params=["complex", "magnitude"])
def mode(request: pytest.FixtureRequest) -> Mode:
    return request.param


@pytest.fixture(scope="module")
def denoiser(mode: Mode) -> Denoiser:
    """From complex images ``(T, H, W)`` in SNR units to denoised ones, or to magnitudes by the magnitude network."""
    file, name = ("model_complex.pt", "stcnnt_light") if mode == "complex" else ("model.pt", "stcnnt_light_magnitude")
    network = load_weights(build_variant(name), bundle_folder("mri_denoising") / "models" / file).eval()
    inferer = FrameSlidingWindowInferer(roi_size=WINDOW, overlap=(0.25, 0.25, 0.25), shrink_to_image=True)

    def run(image: torch.Tensor) -> torch.Tensor:
        channels = torch.view_as_real(image).movedim(-1, 0) if mode == "complex" else image.abs()[None]
        with torch.inference_mode():
            result = inferer(torch.cat([channels, torch.ones_like(channels[:1])])[None], network)[0]
        return torch.view_as_complex(result.movedim(0, -1).contiguous()) if mode == "complex" else result[0]

    return run


def heart(snr: float, size: tuple[int, int, int] = SIZE) -> torch.Tensor:
    """A beating heart without noise, complex ``(T, H, W)``; ``snr`` is its mean over the foreground."""
    image = cine_phantom(size).image
    return image * (snr / foreground_mean(image.abs()))


def noise(seed: int) -> torch.Tensor:
    return complex_noise(SIZE, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", [0, 1])
def test_nothing_is_seen_in_noise(denoiser: Denoiser, mode: Mode, seed: int) -> None:
    result = denoiser(noise(seed))
    components = torch.view_as_real(result).unbind(-1) if mode == "complex" else [result]
    for component in components:
        assert component.std() < 0.15


@pytest.mark.parametrize("extent", [64, 96])
@pytest.mark.parametrize("snr", [5.0, 20.0, 50.0])
def test_an_image_without_noise_stays_as_it_is(denoiser: Denoiser, mode: Mode, snr: float, extent: int) -> None:
    """A magnitude without noise is the mean of Rician ones, and the network's answer the signal."""
    clean = heart(snr, (12, extent, extent))
    if mode == "complex":
        change = torch.view_as_real(denoiser(clean) - clean)
    else:
        means = torch.tensor(rician_mean(clean.abs().numpy()), dtype=torch.float32)
        change = denoiser(means) - clean.abs()
    assert change.square().mean().sqrt() < 0.1


@pytest.mark.parametrize("snr", [5.0, 10.0])
def test_the_mean_of_repeats_has_no_bias(denoiser: Denoiser, snr: float) -> None:
    clean = heart(snr)
    inside = foreground_mask(clean.abs())
    mean = torch.stack([denoiser(clean + noise(seed)) for seed in range(8)]).mean(0)
    truth = clean.abs()[inside].mean()
    assert abs(mean.abs()[inside].mean() - truth) < 0.01 * truth


@pytest.fixture(scope="module")
def units(mode: Mode, tmp_path_factory: pytest.TempPathFactory) -> Callable[[float, float | None], np.ndarray]:
    """Denoise the same file in units that make it ``factor`` times as large, by the command that users have."""
    folder = tmp_path_factory.mktemp(mode)
    image = heart(6.0) + noise(0)
    image = image[:4, 8:-8, 8:-8]
    array = np.stack([image.real, image.imag]) if mode == "complex" else image.abs().numpy()[None]
    found: dict[tuple[float, float | None], np.ndarray] = {}

    def run(factor: float, sigma: float | None) -> np.ndarray:
        if (factor, sigma) not in found:
            record = SeriesRecord(
                array[:, :, None] * factor, np.eye(4), np.arange(4.0), {"file_ndim": 4, "units": ("mm", "sec")}
            )
            [saved] = denoise(
                write_nifti(record, folder / "scan.nii.gz"),
                folder / "out.nii.gz",
                noise_sigma=sigma,
                progress=False,
                redo=True,
            )
            result = read_series(Path(saved))
            assert result.kind == mode
            found[factor, sigma] = result.array
        return found[factor, sigma]

    return run


@pytest.mark.parametrize("is_given", [False, True], ids=["estimated", "given"])
@pytest.mark.parametrize("factor", [1000.0, 1e-3, 0.5])
def test_units_change_nothing_but_the_units(
    units: Callable[[float, float | None], np.ndarray], factor: float, is_given: bool
) -> None:
    """The last factor is half the gain, with half the noise level."""
    plain = units(1.0, 1.0 if is_given else None)
    scaled = units(factor, factor if is_given else None) / factor
    assert np.abs(scaled - plain).max() <= 1e-3 * np.abs(plain).max()
    assert np.abs(plain).max() > 3


def by_file(image: torch.Tensor, mode: Mode, folder: Path, **told: Any) -> torch.Tensor:  # noqa: ANN401
    """Denoise frames ``(T, H, W)`` by the command that users have; what comes out as a magnitude."""
    channels = torch.view_as_real(image).movedim(-1, 0) if mode == "complex" else image.abs()[None]
    record = SeriesRecord(channels[:, :, None].numpy(), np.eye(4), 40.0 * np.arange(len(image)), {"kind": mode})
    [saved] = denoise(write_nifti(record, folder / "scan.nii.gz"), folder / "out.nii.gz", progress=False, **told)
    return torch.linalg.vector_norm(torch.from_numpy(read_series(Path(saved)).array[:, :, 0]), dim=0)


def psnr(image: torch.Tensor, truth: torch.Tensor) -> float:
    return float(20 * torch.log10(truth.max()) - 10 * torch.log10((image - truth).square().mean()))


@pytest.mark.parametrize("snr", [5.0, 20.0, 50.0])
def test_white_noise_is_taken_off_as_without_a_noise_model(mode: Mode, snr: float, tmp_path: Path) -> None:
    """And where there is little of it, little is done."""
    clean = heart(snr)
    image = clean + noise(0)
    channels = torch.view_as_real(image).movedim(-1, 0) if mode == "complex" else image.abs()[None]
    (tmp_path / "white").mkdir()
    blind = psnr(by_file(image, mode, tmp_path), clean.abs())
    level = estimate_noise_level(channels).sigma
    level = 1.0 if snr > 5 else level  # that estimate is 2.5% too high at 20, and 6 to 8% at 50
    white = psnr(by_file(image, mode, tmp_path / "white", noise_sigma=level, noise_spectrum="white"), clean.abs())
    assert white - 0.1 < blind < white + 0.15  # a level that is a little too high suits the drawn heart
    assert blind > psnr(image.abs(), clean.abs())


def test_a_file_without_noise_stays_as_it_is(mode: Mode, tmp_path: Path) -> None:
    clean = heart(50.0)
    change = by_file(clean, mode, tmp_path) - clean.abs()
    assert float(change.square().mean().sqrt()) < 0.1


@pytest.mark.parametrize("acquired", [SIZE[1], 40])
def test_where_the_echo_lies_changes_nothing(tmp_path: Path, acquired: int) -> None:
    """A linear phase of up to a quarter of k-space is taken off before, whole samples of it and parts of one."""
    axes = (AxisSpectrum.of_matrix(64, acquired), AxisSpectrum(64))
    white = complex_noise((SIZE[0], acquired, 64), torch.Generator().manual_seed(0))
    image = from_acquired(to_acquired(heart(8.0), axes) + white, axes)
    results = []
    for shift in ((0.0, 0.0), (12.0, -7.0), (-16.0, 15.6)):
        values = torch.view_as_real(demodulate(image, [-s for s in shift])).movedim(-1, 0)[:, :, None].numpy()
        scan, folder = tmp_path / "scan.nii.gz", tmp_path / f"out_{shift[0]}"
        write_nifti(SeriesRecord(values, np.eye(4), 40.0 * np.arange(SIZE[0]), {"kind": "complex"}), scan)
        [saved] = denoise(scan, folder, progress=False)
        channels = torch.from_numpy(read_series(saved).array[:, :, 0])
        results.append(demodulate(torch.complex(channels[0], channels[1]), shift))
    for other in results[1:]:
        assert float((other - results[0]).abs().square().mean().sqrt()) < 0.05
