# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Planes as radiologists look at them, gray scales, and residuals."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest

from monai_stcnnt.apps.review.views import display_window, foreground, moving_row, plane_view, residual_signal
from monai_stcnnt.data import SeriesRecord

__all__: list[str] = []

OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}


def affine_of(codes: str, spacing: tuple[float, float, float] = (1, 1, 1)) -> np.ndarray:
    """Affine whose axes x, y, z point along the letters."""
    axes = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    affine = np.eye(4)
    affine[:3, :3] = 0
    for n, code in enumerate(codes):
        row, sign = axes[code]
        affine[row, n] = sign * spacing[n]
    return affine


def all_codes() -> list[str]:
    """All 48 ways to lay axes along the patient."""
    orders = itertools.permutations(("LR", "PA", "IS"))
    return ["".join(letters) for order in orders for letters in itertools.product(*order)]


def series(array: np.ndarray) -> SeriesRecord:
    return SeriesRecord(array, np.eye(4), np.zeros(array.shape[1]))


@pytest.mark.parametrize("codes", all_codes())
def test_patient_stands_as_radiologists_expect(codes: str) -> None:
    """Follow each screen edge back to the voxel axis that points there."""
    view = plane_view(affine_of(codes))
    x, y = codes[0], codes[1]
    arrow_x, arrow_y = np.zeros((5, 7)), np.zeros((5, 7))
    arrow_x[:] = np.arange(7)
    arrow_y[:] = np.arange(5)[:, None]
    found = {}
    for letter, arrow in ((x, view.apply(arrow_x)), (y, view.apply(arrow_y))):
        rows, columns = arrow[-1, 0] - arrow[0, 0], arrow[0, -1] - arrow[0, 0]
        found["right" if columns > 0 else "left" if columns else "bottom" if rows > 0 else "top"] = letter
    left = found.get("left") or OPPOSITE[found["right"]]
    top = found.get("top") or OPPOSITE[found["bottom"]]
    plane = {"".join(sorted(x + OPPOSITE[x])), "".join(sorted(y + OPPOSITE[y]))}
    expected = {("LR", "AP"): ("R", "A"), ("LR", "IS"): ("R", "S"), ("AP", "IS"): ("A", "S")}
    assert (left, top) == expected[("LR" if "LR" in plane else "AP", "IS" if "IS" in plane else "AP")]
    assert (view.left, view.top) == (left, top)
    assert {view.letters[edge] for edge in ("left", "right")} == {left, OPPOSITE[left]}
    assert {view.letters[edge] for edge in ("top", "bottom")} == {top, OPPOSITE[top]}


@pytest.mark.parametrize(("codes", "size"), [("RAS", (3.0, 2.0)), ("ARS", (2.0, 3.0)), ("SAR", (2.0, 3.0))])
def test_pixel_size_turns_with_the_image(codes: str, size: tuple[float, float]) -> None:
    assert plane_view(affine_of(codes)).pixel_size(np.array([2.0, 3.0, 9.0])) == size


def test_view_agrees_with_the_canonical_image() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((6, 5, 4))
    for codes in ("LPS", "PLI", "ARS"):
        affine = affine_of(codes)
        canonical = nib.as_closest_canonical(nib.Nifti1Image(values, affine)).get_fdata()
        screen = plane_view(affine).apply(values.transpose(2, 1, 0))
        third = range(4) if codes[2] == "S" else reversed(range(4))
        for screen_slice, z in zip(screen, third, strict=True):
            np.testing.assert_array_equal(screen_slice, canonical[::-1, ::-1, z].T)


def test_window_leaves_out_the_extremes() -> None:
    values = np.arange(1000.0)
    low, high = display_window(values)
    assert (low, high) == pytest.approx((9.99, 994.0), abs=0.1)


@pytest.mark.parametrize("values", [np.zeros((4, 4)), np.full((4, 4), 7.0), np.eye(40) * 3])
def test_window_is_never_empty(values: np.ndarray) -> None:
    low, high = display_window(values)
    assert high > low


def test_moving_row_finds_the_motion() -> None:
    frames = np.ones((6, 40, 30))
    frames[::2, 29:32, 10:20] = 5
    assert moving_row(frames) in (29, 30, 31)
    assert moving_row(np.ones((6, 40, 30))) == 20


def test_magnitude_residual_is_the_difference() -> None:
    before, after = np.full((1, 2, 3, 4, 5), 7.0), np.full((1, 2, 3, 4, 5), 5.0)
    np.testing.assert_array_equal(residual_signal(series(before), series(after)), np.full((2, 3, 4, 5), 2.0))


@pytest.mark.parametrize("phase", [0.0, 1.0, 2.5, -3.0])
def test_complex_residual_does_not_depend_on_phase(phase: float) -> None:
    direction = np.array([np.cos(phase), np.sin(phase)]).reshape(2, 1, 1, 1, 1)
    after = series(np.full((1, 1, 1, 4, 4), 10.0) * direction)
    before = series(np.full((1, 1, 1, 4, 4), 13.0) * direction)
    np.testing.assert_allclose(residual_signal(before, after), 3.0, rtol=1e-5)


def test_complex_noise_stays_at_unit_level_in_air_and_signal() -> None:
    rng = np.random.default_rng(0)
    after = np.zeros((2, 1, 1, 100, 100))
    after[0, ..., :50, :] = 30
    after[0, ..., 75:, :] = 1e-3
    removed = residual_signal(series(after + rng.standard_normal(after.shape)), series(after))
    for part in (removed[..., :50, :], removed[..., 50:75, :], removed[..., 75:, :]):
        assert part.std() == pytest.approx(1, rel=0.05)
        assert part.mean() == pytest.approx(0, abs=0.05)


def test_mixed_kinds_compare_magnitudes() -> None:
    after = np.zeros((2, 1, 1, 4, 4))
    after[0], after[1] = 3, 4
    removed = residual_signal(series(np.full((1, 1, 1, 4, 4), 7.0)), series(after))
    np.testing.assert_allclose(removed, 2.0)


def test_foreground_is_where_there_is_signal_and_everything_where_there_is_none() -> None:
    image = np.zeros((40, 40))
    image[:20] = 100
    np.testing.assert_array_equal(foreground(image), image > 0)
    assert foreground(np.zeros((4, 4))).all()
