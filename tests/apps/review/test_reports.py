# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Reports beside results: their names, their kinds, and the file of figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_stcnnt.apps.review.names import check_report_name, report_names
from monai_stcnnt.apps.review.pictures import gif_frames, gif_report
from monai_stcnnt.apps.review.reports import write_qc, write_report
from monai_stcnnt.apps.review.review import review_series
from monai_stcnnt.data import SeriesRecord
from monai_stcnnt.errors import GFactorMapError, OutputNotWritableError
from monai_stcnnt.mri.phantom import cine_phantom

__all__: list[str] = []

SIGMA = 15.0
CLEAN = 300.0 * cine_phantom((5, 40, 48)).image.abs().numpy()[:, None]


def series(array: np.ndarray, step: float = 35.0) -> SeriesRecord:
    return SeriesRecord(array[None], np.diag([-1.5, -1.5, 8.0, 1.0]), step * np.arange(len(array)))


def noisy() -> np.ndarray:
    noise = SIGMA * np.random.default_rng(0).standard_normal((2, *CLEAN.shape))
    values: np.ndarray = np.hypot(CLEAN + noise[0], noise[1])
    return values


def test_a_gif_plays_a_cine_at_its_own_speed(tmp_path: Path) -> None:
    path = gif_report(review_series(series(noisy()), series(CLEAN), sigma=SIGMA), tmp_path / "new" / "cine.gif")
    with Image.open(path) as picture:
        assert (picture.format, getattr(picture, "n_frames", 1), picture.info["loop"]) == ("GIF", 5, 0)
        assert picture.info["duration"] == pytest.approx(35, abs=10)  # hundredths of a second
        width, height = picture.size
    assert width > 3 * (height - 26)


def test_a_gif_shows_before_after_and_residual() -> None:
    frames = gif_frames(review_series(series(noisy()), series(CLEAN), sigma=SIGMA))
    assert frames.shape == (5, 3, 40, 48)
    residual = (frames[:, 2].astype(float) - 127.5) / 127.5 * 4
    expected = (noisy() - CLEAN)[:, 0] / SIGMA
    np.testing.assert_allclose(residual, np.clip(expected, -4, 4), atol=0.05)  # the view of this affine is its own
    assert np.abs(np.diff(frames[:, 1].astype(int), axis=0)).max() > 50


@pytest.mark.parametrize(
    ("shape", "count"), [((1, 7, 20, 24), 7), ((1, 250, 6, 8), 84), ((200, 2, 6, 8), 120), ((1, 1, 6, 8), 1)]
)
def test_a_gif_runs_through_slices_or_frames(tmp_path: Path, shape: tuple[int, ...], count: int) -> None:
    values = np.random.default_rng(0).random(shape)
    assert len(gif_frames(review_series(series(values), series(0.5 * values)))) == count
    assert gif_report(review_series(series(values), series(values)), tmp_path / "a.gif").is_file()


@pytest.mark.parametrize("ending", ["png", "gif", "html"])
def test_every_kind_of_report_is_written(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "pages" / f"report.{ending}"
    assert write_report(review_series(series(noisy()), series(CLEAN), sigma=SIGMA), path) == path
    start = {"png": b"\x89PNG", "gif": b"GIF8", "html": b"<!doctype html>"}[ending]
    assert path.read_bytes().startswith(start)


def test_figures_of_all_series_are_in_one_file(tmp_path: Path) -> None:
    good, bad = (review_series(series(noisy()), series(share * CLEAN), sigma=SIGMA) for share in (1.0, 0.7))
    write_qc([{"result": "good", **good.as_dict()}, {"result": "bad", **bad.as_dict()}], tmp_path / "qc.json")
    [first, second] = json.loads((tmp_path / "qc.json").read_text())["series"]
    assert (first["result"], first["flags"]) == ("good", [])
    assert {flag["name"] for flag in second["flags"]} == {flag.name for flag in bad.flags} != set()


def test_reports_of_several_series_have_different_names(tmp_path: Path) -> None:
    one, two = (Path(f"out/{n}/scan_denoised.nii") for n in "ab")
    names = report_names([one, two], tmp_path / "r.html")
    assert [name.name for name in names] == ["r_a_scan_denoised.html", "r_b_scan_denoised.html"]
    assert report_names([one], tmp_path / "r.html") == [tmp_path / "r.html"]


def test_the_map_that_was_used_is_counted_in() -> None:
    before, after = series(noisy()), series(CLEAN)
    one = review_series(before, after, sigma=SIGMA)
    half = review_series(before, after, sigma=SIGMA / 2, gmap=np.full((1, 1, 40, 48), 2.0))
    assert half.values["residual_std"] == pytest.approx(one.values["residual_std"], rel=1e-4)
    with pytest.raises(GFactorMapError, match="size"):
        review_series(before, after, sigma=SIGMA, gmap=np.ones((1, 1, 40, 47)))


@pytest.mark.parametrize("name", ["report.pdf", "report", "folder.html"])
def test_names_that_are_none_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(OutputNotWritableError, match="ends in"):
        check_report_name(tmp_path / name)
