# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The measurement on real repeats: held-out series, figures that know noise from signal, honest tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import real_repeats as benchmark
from benchmarks.real_repeats import METHODS, Repeats, Row
from monai_stcnnt.data import SeriesRecord, read_series, write_nifti
from monai_stcnnt.errors import ConstantImageError, LayoutError
from tools import prepare_denoising_data as training

__all__: list[str] = []

SIGMA = 4.0
FRAMES = 16


def clean_series(wave: float = 0.0) -> np.ndarray:
    """A disk in air with the SNR 10, ``(T, Z, Y, X)``; one half of it may wax and wane by ``wave``."""
    t, _, y, x = np.ogrid[:FRAMES, :1, -1:1:48j, -1:1:48j]
    disk = 10 * SIGMA * (y**2 + x**2 < 0.5)
    return disk * (1 + wave * np.sin(2 * np.pi * t / 5) * (x > 0))


def series(wave: float = 0.0) -> SeriesRecord:
    rng = np.random.default_rng(0)
    clean = clean_series(wave)
    noise = SIGMA * rng.standard_normal((2, *clean.shape))
    array = np.hypot(clean + noise[0], noise[1])[None]
    return SeriesRecord(array, np.eye(4), np.arange(FRAMES) * 1000.0, {"file_ndim": 4, "units": ("mm", "sec")})


@pytest.fixture(scope="module")
def repeats() -> Repeats:
    return benchmark.make_repeats("disk", series())


def truth(record: SeriesRecord, _: float) -> SeriesRecord:
    return record.with_array(np.broadcast_to(clean_series()[:1], record.array.shape).copy())


def row(repeats: Repeats, name: str) -> Row:
    return benchmark.evaluate(repeats, *METHODS[name])


def test_no_series_is_of_training() -> None:
    folders = [Path(path).parts[0] for path in benchmark.SERIES.values()]
    used = [*training.TRAIN.values(), *training.VOLUMES.values(), *training.VALIDATION.values(), training.CINE]
    assert not set(folders) & {Path(path).parts[0] for path in used}


def test_noise_level_and_pixels_are_found(repeats: Repeats) -> None:
    assert repeats.sigma == pytest.approx(SIGMA, rel=0.05)
    np.testing.assert_array_equal(repeats.mask, clean_series()[0] > 0)


def test_noisy_series_has_the_figures_of_its_noise(repeats: Repeats) -> None:
    noisy = row(repeats, "noisy")
    assert noisy.snr == pytest.approx(10, rel=0.05)
    assert noisy.tsnr == pytest.approx(10, rel=0.08)
    assert noisy.plain_bias == pytest.approx(0, abs=1e-4)
    assert noisy.bias == pytest.approx(100 * (1 / 20) / 10, abs=0.1)  # sigma^2 / (2 signal), of the signal
    assert (noisy.changes_kept, noisy.changes_correlation) == pytest.approx((1, 1), abs=1e-4)


def test_truth_is_better_than_its_noisy_reference_can_tell(repeats: Repeats) -> None:
    noisy, best = row(repeats, "noisy"), benchmark.evaluate(repeats, "truth", truth)
    assert best.bias == pytest.approx(0, abs=0.5)
    assert best.tsnr == np.inf
    expected = 10 * np.log10((1 + 8) / 1)  # the reference has an eighth of the noise's variance
    assert best.split_psnr - noisy.split_psnr == pytest.approx(expected, abs=0.7)


def test_split_reference_is_denoised_by_nobody(repeats: Repeats) -> None:
    """A method gets the halves apart, and its results are not compared with what it saw."""
    seen = []

    def remember(record: SeriesRecord, _: float) -> SeriesRecord:
        seen.append(record.array.shape[1])
        return record

    result = benchmark.evaluate(repeats, "noisy", remember)
    assert seen == [FRAMES, FRAMES // 2, FRAMES // 2]
    assert result.split_psnr == row(repeats, "noisy").split_psnr


@pytest.mark.parametrize("name", ["mean", "gaussian"])
def test_methods_raise_temporal_snr_without_bias(repeats: Repeats, name: str) -> None:
    noisy, found = row(repeats, "noisy"), row(repeats, name)
    assert found.tsnr > 1.3 * noisy.tsnr
    if name == "mean":
        assert found.bias == pytest.approx(0, abs=1e-3)
        assert found.split_psnr > noisy.split_psnr + 5


def test_a_changed_brightness_is_a_bias(repeats: Repeats) -> None:
    brighter = benchmark.evaluate(repeats, "brighter", lambda record, _: record.with_array(1.05 * record.array))
    assert brighter.plain_bias == pytest.approx(5, abs=0.1)
    assert brighter.bias_rms >= brighter.bias


def test_lost_changes_are_seen() -> None:
    moving = benchmark.make_repeats("waves", series(wave=0.3))
    assert row(moving, "gaussian").changes_kept == pytest.approx(1, abs=0.1)
    assert row(moving, "mean").changes_kept == pytest.approx(0, abs=1e-6)
    assert row(moving, "mean").changes_correlation == 0


def test_results_are_in_the_units_of_the_file(repeats: Repeats) -> None:
    """Gain and noise level halved: the same figures."""
    half = benchmark.make_repeats("disk", series().with_array(series().array / 2))
    assert half.sigma == pytest.approx(repeats.sigma / 2)
    for name in ("noisy", "gaussian"):
        one, other = row(repeats, name), row(half, name)
        assert (one.tsnr, one.bias, one.split_psnr) == pytest.approx((other.tsnr, other.bias, other.split_psnr), 1e-3)


def test_what_cannot_be_split_or_seen_is_refused() -> None:
    short = series()
    with pytest.raises(LayoutError, match="3 frames"):
        benchmark.make_repeats("short", SeriesRecord(short.array[:, :3], short.affine, short.frame_times[:3]))
    rng = np.random.default_rng(0)
    air = short.with_array(np.hypot(*rng.standard_normal((2, *short.array.shape))))
    with pytest.raises(ConstantImageError, match="noise levels"):
        benchmark.make_repeats("air", air)


def test_network_gets_the_series_through_files(repeats: Repeats, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    def stand_in(path: Path, output: Path, **options: object) -> list[Path]:
        calls.append(options)
        return [write_nifti(read_series(path), output)]

    monkeypatch.setattr(benchmark, "denoise", stand_in)
    found = row(repeats, "bundle")
    assert found.tsnr == pytest.approx(row(repeats, "noisy").tsnr, rel=1e-4)
    assert [call["noise_sigma"] for call in calls] == [repeats.sigma] * 3


def test_program_prints_the_table_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_nifti(series(), tmp_path / "scan.nii.gz")
    output = tmp_path / "result.json"
    rows = benchmark.main(["--files", str(path), "--methods", "noisy", "mean", "--output", str(output)])
    stored = json.loads(output.read_text(encoding="utf-8"))["rows"]
    assert [entry["method"] for entry in stored] == ["noisy", "mean of all frames"]
    assert stored[0]["tsnr"] == rows[0].tsnr
    assert stored[1]["tsnr"] is None  # infinite: nothing changes
    text = capsys.readouterr().out
    assert f"| {rows[0].split_psnr:.2f} |" in text
    assert "| 1.00 |" in text


def test_program_needs_something_to_measure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmark.main([])
    assert "--data or --files" in capsys.readouterr().err
