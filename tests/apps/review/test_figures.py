# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Quality control: removed noise passes, whatever colored it; removed anatomy, brightness and motion are flagged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from monai_stcnnt.apps.review import figures
from monai_stcnnt.apps.review.figures import FIGURES, Figure, figure_columns, figure_table, limits
from monai_stcnnt.apps.review.html import html_page
from monai_stcnnt.apps.review.reports import write_qc
from monai_stcnnt.apps.review.review import review_series
from monai_stcnnt.data import SeriesRecord
from monai_stcnnt.errors import GFactorMapError, LayoutError, NoiseLevelError, OutputNotWritableError
from monai_stcnnt.mri.axis_spectrum import AxisSpectrum
from monai_stcnnt.mri.noise import complex_noise
from monai_stcnnt.mri.noise_model import NoiseModel, from_acquired
from monai_stcnnt.mri.phantom import cine_phantom
from monai_stcnnt.mri.snr import foreground_mean

__all__: list[str] = []

SIGMA = 10.0
CLEAN = 300.0 * cine_phantom((8, 72, 64)).image.abs().numpy()[:, None]


def record(values: np.ndarray) -> SeriesRecord:
    array = values if values.ndim == 5 else values[None]
    return SeriesRecord(array.astype(np.float32), np.eye(4), 40.0 * np.arange(array.shape[1]))


def noise(seed: int = 0, blur: float = 0.0) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((2, *CLEAN.shape))
    values = ndimage.gaussian_filter(values, (0, 0, 0, blur, blur)) if blur else values
    return SIGMA * values / values.std()


def magnitudes(seed: int = 0, blur: float = 0.0) -> np.ndarray:
    added = noise(seed, blur)
    return np.hypot(CLEAN + added[0], added[1])


NOISY = magnitudes()


def names(before: np.ndarray, after: np.ndarray, sigma: float = SIGMA) -> set[str]:
    return {flag.name for flag in review_series(record(before), record(after), sigma=sigma).flags}


@pytest.mark.parametrize("blur", [0.0, 0.8])
@pytest.mark.parametrize("left", [0.0, 0.3, 0.6])
def test_removed_noise_is_not_flagged_whatever_colored_it(blur: float, left: float) -> None:
    noisy = magnitudes(blur=blur)
    assert names(noisy, left * noisy + (1 - left) * CLEAN) == ({"noise_left"} if left > 0.5 else set())


def test_oversmoothing_is_flagged() -> None:
    stripes = np.where(np.arange(64) < 32, 100.0, 300.0) * np.ones_like(CLEAN)
    added = noise()
    noisy = np.hypot(stripes + added[0], added[1])
    assert names(noisy, stripes) == set()
    assert names(noisy, ndimage.gaussian_filter(noisy, (0, 0, 0.5, 0.5))) == {"edge_ratio"}
    strong = names(noisy, ndimage.gaussian_filter(noisy, (0, 0, 2, 2)))
    assert strong >= {"edge_ratio", "residual_std", "changed_percent"}


def test_motion_that_is_blurred_or_stopped_is_flagged() -> None:
    for after in (ndimage.gaussian_filter1d(NOISY, 1.5, axis=0), np.repeat(NOISY.mean(0, keepdims=True), 8, 0)):
        found = review_series(record(NOISY), record(after), sigma=SIGMA)
        kept = found.values["motion_kept"]
        assert kept is not None
        assert kept < 0.5
        assert "motion_kept" in {flag.name for flag in found.flags}
    values = review_series(record(NOISY), record(CLEAN), sigma=SIGMA).values
    assert values["motion_kept"] == pytest.approx(1.0, abs=0.15)
    assert (values["frame_change_before"] or 0) > (values["frame_change_after"] or 0) > 0


def test_a_change_of_brightness_is_flagged() -> None:
    assert "residual_mean" in names(NOISY, CLEAN - SIGMA)
    assert "residual_mean" in names(NOISY, CLEAN + SIGMA)


def test_a_lost_detail_is_flagged_by_the_pixels_that_changed() -> None:
    before = NOISY.copy()
    before[:, :, 30:33, 30:33] += 7 * SIGMA
    assert names(before, CLEAN) == {"changed_percent"}
    found = review_series(record(before), record(CLEAN), sigma=SIGMA)
    assert found.values["changed_percent"] == pytest.approx(100 * 9 / (72 * 64), rel=0.1)


def test_snr_after_follows_the_noise_that_is_left() -> None:
    found = [
        review_series(record(NOISY), record(left * NOISY + (1 - left) * CLEAN), sigma=SIGMA) for left in (0.9, 0.6, 0.3)
    ]
    before, after = ([one.values[name] or 0.0 for one in found] for name in ("snr_before", "snr_after"))
    whole = review_series(record(NOISY), record(CLEAN), sigma=SIGMA).values
    assert whole["snr_before"] == pytest.approx(foreground_mean(torch.tensor(CLEAN)) / SIGMA, rel=1e-3)
    assert before[0] < after[0] < after[1] < after[2] <= 5.001 * before[2]
    assert review_series(record(NOISY), record(np.zeros_like(NOISY)), sigma=SIGMA).values["snr_after"] is None


def test_complex_images_have_no_rician_bias() -> None:
    clean = np.stack([CLEAN, np.zeros_like(CLEAN)])
    found = review_series(record(clean + noise()), record(clean), sigma=SIGMA)
    assert found.flags == ()
    assert (found.values["residual_std"], found.values["residual_mean"]) == pytest.approx((1, 0), abs=0.05)
    assert (found.values["whiteness"] or 0) > 0.95


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_figures_do_not_depend_on_the_units(factor: float) -> None:
    after = 0.4 * NOISY + 0.6 * CLEAN
    one = review_series(record(NOISY), record(after), sigma=SIGMA).as_dict()
    other = review_series(record(factor * NOISY), record(factor * after), sigma=factor * SIGMA).as_dict()
    assert other.pop("sigma") == pytest.approx(factor * one.pop("sigma"))
    numbers = {key: value for key, value in one.items() if isinstance(value, float)}
    assert len(numbers) == len(FIGURES) - 1
    assert {key: other[key] for key in numbers} == pytest.approx(numbers, rel=1e-3, abs=1e-5)


def test_a_gfactor_map_says_where_the_noise_is_strong() -> None:
    gmap = np.linspace(1, 6, 64) * np.ones((1, 72, 1))
    before = CLEAN + noise()[0] * gmap
    assert "changed_percent" in names(before, CLEAN)
    found = review_series(record(before), record(CLEAN), sigma=SIGMA, gmap=gmap)
    assert found.values["residual_std"] == pytest.approx(1, rel=0.05)
    assert (found.values["changed_percent"] or 0) < limits()["changed_percent"]


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 3, 16, 16), (2, 1, 5, 4)])
def test_small_images_and_unchanged_ones_have_figures(shape: tuple[int, ...]) -> None:
    values = 100 + np.random.default_rng(0).random(shape)
    found = review_series(record(values), record(values), sigma=1.0)
    assert (found.values["residual_std"], found.values["changed_percent"], found.values["edge_ratio"]) == (0, 0, None)
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["flags"] == []


def test_figures_are_written_as_json(tmp_path: Path) -> None:
    found = review_series(record(NOISY), record(ndimage.gaussian_filter(NOISY, (0, 0, 4, 4))), sigma=SIGMA)
    path = write_qc([{"source": "scan.nii", **found.as_dict()}], tmp_path / "new" / "qc.json")
    said = json.loads(path.read_text())
    assert said["limits"] == limits()
    [series] = said["series"]
    assert series["source"] == "scan.nii"
    assert {flag["name"] for flag in series["flags"]} == {flag.name for flag in found.flags} != set()
    assert all(flag["message"] for flag in series["flags"])
    for bad in (path / "below_a_file.json", tmp_path / "qc.csv"):
        with pytest.raises(OutputNotWritableError):
            write_qc([], bad)


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), float("inf")])
def test_noise_level_that_is_none_is_refused(sigma: float) -> None:
    with pytest.raises(NoiseLevelError, match="positive"):
        review_series(record(NOISY), record(CLEAN), sigma=sigma)


def test_series_of_different_size_are_refused() -> None:
    with pytest.raises(LayoutError, match="one size"):
        review_series(record(NOISY), record(CLEAN[:3]), sigma=SIGMA)


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(GFactorMapError, match="size"):
        review_series(record(NOISY), record(CLEAN), sigma=SIGMA, gmap=np.ones((1, 71, 1)))


def test_an_unknown_noise_level_gives_no_figures_and_no_flags() -> None:
    found = review_series(record(NOISY), record(np.zeros_like(NOISY)))
    assert (found.figures, found.flags) == ((), ())


def test_frames_are_not_compared_where_there_is_only_one() -> None:
    names_of_one = set(review_series(record(NOISY[:1]), record(CLEAN[:1]), sigma=SIGMA).values)
    assert {figure.name for figure in FIGURES} - names_of_one == {
        "frame_change_before", "frame_change_after", "motion_kept",
    }  # fmt: skip


def test_a_row_more_is_a_figure_more_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Figure(
        "largest", "Largest change", "the largest change of a pixel", lambda series: float(series.residual.max()),
        form=".1f", unit=" px", column="largest", limit=1.5, message="a pixel changed by {value}, limit {limit}",
    )  # fmt: skip
    monkeypatch.setattr(figures, "FIGURES", (*FIGURES, row))
    found = review_series(record(NOISY), record(CLEAN), sigma=SIGMA)
    value = found.values["largest"]
    assert value is not None
    assert found.as_dict()["largest"] == value > 1.5
    assert [flag.name for flag in found.flags] == ["largest"]
    assert limits()["largest"] == 1.5
    page = html_page(found)
    assert "<li>A pixel changed by" in page
    for text in ("Largest change", f"{value:.1f} px", "above 1.5 px"):
        assert text in page
    columns = figure_columns({"scan.nii": found.as_dict()})
    assert columns["largest"] == {"scan.nii": f"{value:.1f} px"}
    assert columns["flagged"] == {"scan.nii": "largest"}
    assert "| `largest` | the largest change of a pixel | above 1.5 px |" in figure_table()


def test_blending_two_frames_is_no_lost_detail() -> None:
    rng = np.random.default_rng(0)
    clean = np.full((1, 2, 1, 48, 48), 100.0, np.float32)
    noisy = clean + rng.standard_normal(clean.shape).astype(np.float32)
    blended = np.broadcast_to(noisy.mean(1, keepdims=True), noisy.shape)
    before, after = (SeriesRecord(x, np.eye(4), np.arange(2.0), {}) for x in (noisy, blended))
    found = review_series(before, after, sigma=1.0)
    assert (found.values["whiteness"] or 0) > 0.9
    assert "whiteness" not in {flag.name for flag in found.flags}


def test_noise_that_was_left_in_air_is_flagged() -> None:
    noise = np.random.default_rng(0).normal(size=(2, 1, 1, 96, 96)).astype(np.float32)
    signal = np.zeros_like(noise)
    signal[0, ..., 24:72, 24:72] = 30
    before = SeriesRecord(np.hypot(*(signal + noise))[None], np.eye(4), np.zeros(1), {"kind": "magnitude"})
    for share, flagged in ((1.0, True), (0.1, False)):
        after = before.with_array(np.hypot(signal[:1], share * before.array * (signal[:1] == 0)))
        found = review_series(before, after, sigma=1.0)
        assert found.values["noise_left"] == pytest.approx(share, abs=0.05)
        assert ("noise_left" in {flag.name for flag in found.flags}) == flagged


def test_air_that_is_masked_or_absent_says_nothing_of_the_noise_that_is_left() -> None:
    masked = np.where(0.05 * CLEAN.max() < CLEAN, NOISY, 0)
    tissue = CLEAN + 100.0
    cropped = np.hypot(tissue + noise()[0], noise(1)[0])
    for before, clean in ((masked, CLEAN), (cropped, tissue)):
        found = review_series(record(before), record(0.9 * before + 0.1 * clean), sigma=SIGMA)
        assert found.values["noise_left"] is None


def test_residuals_of_interpolated_noise_are_compared_with_their_spectrum() -> None:
    axes = (AxisSpectrum(8), AxisSpectrum.of_matrix(72, 22), AxisSpectrum.of_matrix(64, 20))
    coarse = complex_noise((8, 22, 20), torch.Generator().manual_seed(0))
    added = SIGMA * from_acquired(coarse, axes[1:]).numpy()[:, None]
    before = record(np.abs(CLEAN + added))
    for model, flagged in ((None, True), (NoiseModel(SIGMA, "rician", axes), False)):
        found = review_series(before, record(CLEAN), sigma=SIGMA, noise=model)
        assert ("whiteness" in {flag.name for flag in found.flags}) == flagged


def test_the_page_shows_map_and_spectrum() -> None:
    axes = (AxisSpectrum(8), AxisSpectrum.of_matrix(72, 36), AxisSpectrum(64))
    gmap = np.linspace(1, 2, 64)[None, None, None]
    model = NoiseModel(SIGMA, "rician", axes)
    found = review_series(record(NOISY), record(CLEAN), sigma=SIGMA, gmap=gmap, noise=model)
    page = html_page(found)
    assert "36 of 72 samples" in page
    assert 'alt="Map of the noise"' in page
    assert "Map of the noise" not in html_page(review_series(record(NOISY), record(CLEAN), sigma=SIGMA))
