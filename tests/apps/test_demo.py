# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The demonstration, with a plain filter in place of the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

from monai_stcnnt.apps import demo
from monai_stcnnt.apps.demo import DEMO_FILES, read_demo_scan, run_demo, summary
from monai_stcnnt.apps.review.quality import image_quality
from monai_stcnnt.data import SeriesRecord, read_series, write_nifti
from monai_stcnnt.errors import MissingFileError, NoiseLevelError, OutputNotWritableError

__all__: list[str] = []


@pytest.fixture
def scan() -> SeriesRecord:
    """Part of the scan that the demonstration is about."""
    whole = read_demo_scan()
    return SeriesRecord(
        whole.array[:, :, 10:12, 20:76, 40:96],
        whole.affine,
        whole.frame_times,
        {"file_ndim": 4, "units": ("mm", "sec")},
    )


def smooth(path: Path, output: Path) -> list[Path]:
    """Stand-in for the network."""
    series = read_series(path)
    return [write_nifti(series.with_array(gaussian_filter(series.array, (0, 0, 0, 0.7, 0.7))), output)]


def command() -> typer.Typer:
    app = typer.Typer()
    app.command()(demo.main)
    return app


def test_scan_is_the_brain_of_two_volumes() -> None:
    assert read_demo_scan().array.shape == (1, 2, 24, 96, 128)


def test_files_and_figures_agree(tmp_path: Path, scan: SeriesRecord) -> None:
    result = run_demo(tmp_path / "out", scan=scan, denoiser=smooth)
    assert sorted(p.name for p in result.folder.iterdir()) == sorted([*DEMO_FILES, "demo.png"])
    truth, noisy, denoised = (read_series(result.folder / f"{n}.nii.gz") for n in ("truth", "noisy", "denoised"))
    np.testing.assert_allclose(truth.array, scan.array, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(truth.affine, scan.affine, atol=1e-5)
    assert image_quality(truth, noisy) == result.noisy
    assert image_quality(truth, denoised) == result.denoised
    assert result.denoised.psnr > result.noisy.psnr
    assert result.estimated_sigma == pytest.approx(result.true_sigma, rel=0.15)


def test_seed_gives_the_same_noise_again(tmp_path: Path, scan: SeriesRecord) -> None:
    first, again, other = (
        run_demo(tmp_path / str(n), scan=scan, seed=seed, denoiser=smooth) for n, seed in enumerate((0, 0, 1))
    )
    assert first.noisy == again.noisy
    assert first.noisy != other.noisy


def test_results_are_replaced_by_newer_ones(tmp_path: Path, scan: SeriesRecord) -> None:
    run_demo(tmp_path, scan=scan, snr=20, denoiser=smooth)
    result = run_demo(tmp_path, scan=scan, snr=2, denoiser=smooth)
    assert image_quality(scan, read_series(tmp_path / "noisy.nii.gz")).psnr == pytest.approx(
        result.noisy.psnr, rel=1e-4
    )


def test_summary_names_figures_and_paths(tmp_path: Path, scan: SeriesRecord) -> None:
    result = run_demo(tmp_path, scan=scan, denoiser=smooth)
    text = summary(result)
    for figure in (f"{result.noisy.psnr:.2f} dB", f"{result.denoised.psnr:.2f} dB", f"{result.denoised.ssim:.3f}"):
        assert figure in text
    for name in (*DEMO_FILES, "demo.png"):
        assert str(tmp_path / name) in text
    assert text.splitlines()[-1] == f"Picture: {tmp_path / 'demo.png'}"


def test_command_prints_the_figures(tmp_path: Path, scan: SeriesRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = []

    def stand_in(path: Path, output: Path, *, device: str, redo: bool) -> list[Path]:
        assert redo, "a result of an older bundle is replaced"
        devices.append(device)
        return smooth(path, output)

    monkeypatch.setattr(demo, "denoise", stand_in)
    monkeypatch.setattr(demo, "read_demo_scan", lambda: scan)
    result = CliRunner().invoke(command(), ["--output", str(tmp_path), "--device", "cpu", "--snr", "3"])
    assert result.exit_code == 0, result.output
    assert "SNR 3" in result.output
    assert f"Denoising {tmp_path / 'noisy.nii.gz'}" in result.output
    assert f"Picture: {tmp_path / 'demo.png'}" in result.output
    assert devices == ["cpu", "cpu"]


def test_command_says_what_is_wrong(tmp_path: Path, scan: SeriesRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_model(path: Path, output: Path, *, device: str, **_: object) -> list[Path]:
        raise MissingFileError(f"no model for {path.name} and {output.name} on {device}")

    monkeypatch.setattr(demo, "denoise", without_model)
    monkeypatch.setattr(demo, "read_demo_scan", lambda: scan)
    result = CliRunner().invoke(command(), ["--output", str(tmp_path)])
    assert result.exit_code == 2
    assert "Error: no model for truth.nii.gz" in result.output
    assert not (tmp_path / "demo.png").exists()


def test_bad_arguments_are_refused_before_any_work(tmp_path: Path, scan: SeriesRecord) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputNotWritableError):
        run_demo(tmp_path / "file", scan=scan, denoiser=smooth)
    with pytest.raises(NoiseLevelError):
        run_demo(tmp_path / "out", scan=scan, snr=0, denoiser=smooth)
