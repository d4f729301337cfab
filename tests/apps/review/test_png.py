# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The report: what it shows, how large it is, and that it is complete or absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_stcnnt.apps.review.pictures import png_report, report_panels
from monai_stcnnt.apps.review.quality import add_series_noise, image_quality
from monai_stcnnt.apps.review.reports import write_report
from monai_stcnnt.apps.review.review import review_series
from monai_stcnnt.apps.review.views import RESIDUAL_RANGE, display_window, foreground
from monai_stcnnt.data import SeriesRecord
from monai_stcnnt.errors import LayoutError, OutputNotWritableError

__all__: list[str] = []


def ramp_series(shape: tuple[int, ...] = (1, 4, 3, 16, 20), spacing: tuple[float, float] = (1.0, 1.0)) -> SeriesRecord:
    """A ramp along x that grows over slices and frames."""
    _, frames, slices, rows, columns = shape
    grid = np.arange(columns) + 100 * np.arange(slices)[:, None, None] + 1000 * np.arange(frames)[:, None, None, None]
    array = np.broadcast_to(grid.astype(np.float32), (frames, slices, rows, columns))
    return SeriesRecord(
        np.broadcast_to(array, shape), np.diag([-spacing[0], -spacing[1], 5.0, 1.0]), 40.0 * np.arange(frames)
    )


def noisy_pair(shape: tuple[int, ...] = (1, 4, 3, 16, 20)) -> tuple[SeriesRecord, SeriesRecord]:
    after = ramp_series(shape)
    noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return after.with_array(after.array + noise), after


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        picture.load()
        return picture.size


def test_panels_show_the_middle_slice_on_one_scale() -> None:
    before, after = noisy_pair()
    shown = {panel.name: panel for panel in report_panels(review_series(before, after, sigma=1.0))}
    assert list(shown) == ["Before", "After", "Residual"]
    np.testing.assert_array_equal(shown["After"].frames, after.array[0, :, 1])
    np.testing.assert_array_equal(shown["Before"].frames, before.array[0, :, 1])
    assert shown["Before"].limits == shown["After"].limits == display_window(after.array[0, :, 1])


@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_residual_is_in_units_of_the_noise(sigma: float) -> None:
    before, after = noisy_pair()
    residual = report_panels(review_series(before, after, sigma=sigma))[-1]
    np.testing.assert_allclose(residual.frames, (before.array - after.array)[0, :, 1] / sigma, atol=1e-5)
    assert residual.limits == (-RESIDUAL_RANGE, RESIDUAL_RANGE)
    number = float(residual.note.split()[1])
    assert number == pytest.approx(1 / sigma, rel=0.1)
    assert "σ" in residual.note


def test_residual_of_unknown_noise_has_its_own_symmetric_scale() -> None:
    before, after = noisy_pair()
    residual = report_panels(review_series(before, after))[-1]
    reach = RESIDUAL_RANGE * (before.array - after.array).std()
    assert residual.limits == pytest.approx((-reach, reach))
    assert "σ" not in residual.note


def test_truth_adds_error_and_figures() -> None:
    series = add_series_noise(ramp_series(), 5, seed=0)
    after = series.clean.with_array(series.clean.array * 0.9)
    panels = report_panels(review_series(series.noisy, after, sigma=series.sigma), series.clean)
    assert [panel.name for panel in panels] == ["Truth", "Noisy", "Denoised", "Residual", "Error"]
    quality = image_quality(series.clean, series.noisy)
    assert panels[1].note == f"PSNR {quality.psnr:.1f} dB, SSIM {quality.ssim:.3f}"
    error = (after.magnitude - series.clean.magnitude)[:, 1] / series.sigma
    np.testing.assert_allclose(panels[4].frames, error, atol=1e-4)
    assert panels[3].note.startswith("SD ")
    inside = foreground(series.clean.magnitude[:, 1])
    assert panels[4].note == f"RMS {np.sqrt(np.square(error[inside]).mean()):.2f} σ in foreground"
    residual = (series.noisy.magnitude - after.magnitude)[:, 1] / series.sigma
    assert panels[3].note.split()[0] == "SD"
    assert float(panels[3].note.split()[1]) == pytest.approx(residual[inside].std(), rel=0.2)


def test_small_image_goes_without_figures() -> None:
    before, after = noisy_pair((1, 1, 1, 8, 8))
    assert report_panels(review_series(before, after), after)[1].note == ""


@pytest.mark.parametrize("title", ["", "scan"])
@pytest.mark.parametrize("sigma", [None, 1.0])
@pytest.mark.parametrize("shape", [(1, 1, 1, 16, 20), (1, 1, 9, 16, 20), (1, 2, 1, 16, 20), (2, 4, 3, 16, 20)])
def test_picture_is_written(tmp_path: Path, shape: tuple[int, ...], sigma: float | None, title: str) -> None:
    before, after = noisy_pair(shape)
    path = png_report(review_series(before, after, title=title, sigma=sigma), tmp_path / "new" / "report.png")
    width, height = size_of(path)
    assert width > 1.5 * height
    assert [p.name for p in path.parent.iterdir()] == ["report.png"]


def test_time_heading_and_truth_take_their_room(tmp_path: Path) -> None:
    before, after = noisy_pair()
    before_2, after_2 = noisy_pair((1, 2, 3, 16, 20))
    moving = size_of(png_report(review_series(before, after), tmp_path / "moving.png"))
    still = size_of(png_report(review_series(before_2, after_2), tmp_path / "still.png"))
    titled = size_of(png_report(review_series(before_2, after_2, title="scan"), tmp_path / "titled.png"))
    five = size_of(png_report(review_series(before_2, after_2), tmp_path / "five.png", after_2))
    assert moving[1] > still[1] + 100
    assert titled[1] > still[1] + 30
    assert titled[0] == still[0] < five[0]


def test_pixels_keep_their_shape(tmp_path: Path) -> None:
    """Voxels that are wider than high give wider panels than square ones."""
    sizes = []
    for spacing in ((1.0, 1.0), (1.2, 1.0)):
        scan = ramp_series((1, 1, 1, 24, 24), spacing)
        sizes.append(size_of(png_report(review_series(scan, scan), tmp_path / "report.png")))
    assert sizes[1][1] == sizes[0][1]
    panel = 3.4 * 150
    assert sizes[1][0] - sizes[0][0] == pytest.approx(3 * 0.2 * panel, abs=10)


def test_image_is_where_it_belongs(tmp_path: Path) -> None:
    """A bright voxel at the patient's right and front is in the upper left of the picture's first panel."""
    scan = ramp_series((1, 1, 1, 20, 20))
    values = np.zeros_like(scan.array)
    values[..., :6, :6] = 10
    corner = scan.with_array(values)
    path = png_report(review_series(corner, corner), tmp_path / "report.png")
    with Image.open(path) as picture:
        gray = np.asarray(picture.convert("L"), float)
    margin, image, caption = int(0.15 * 150), int(3.4 * 150), int(0.58 * 150)
    panel = gray[caption : caption + image, margin : margin + image]
    half = image // 2
    quarters = [panel[:half, :half], panel[:half, half:], panel[half:, :half], panel[half:, half:]]
    assert int(np.argmax([quarter.mean() for quarter in quarters])) == 0


def test_identical_series_are_no_error(tmp_path: Path) -> None:
    scan = ramp_series()
    assert png_report(review_series(scan, scan, sigma=1.0), tmp_path / "same.png", scan).is_file()


def test_picture_is_the_same_again(tmp_path: Path) -> None:
    before, after = noisy_pair()
    first, again = (png_report(review_series(before, after), tmp_path / f"{n}.png").read_bytes() for n in range(2))
    assert first == again


def test_series_of_different_size_are_refused(tmp_path: Path) -> None:
    before, after = noisy_pair()
    with pytest.raises(LayoutError, match="one size"):
        png_report(review_series(before, ramp_series((1, 4, 3, 16, 18))), tmp_path / "report.png")
    with pytest.raises(LayoutError, match="one size"):
        png_report(review_series(before, after), tmp_path / "report.png", ramp_series((1, 4, 2, 16, 20)))


@pytest.mark.parametrize("name", ["report.pdf", "report", "taken/report.png", "folder.png"])
def test_place_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "folder.png").mkdir()
    before, after = noisy_pair()
    with pytest.raises(OutputNotWritableError, match="Choose"):
        write_report(review_series(before, after), tmp_path / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.png", "taken"]
