# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The page: it plays, its divider moves, it tells values, it asks for nothing, and it gives nothing away."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from monai_stcnnt.apps.review.html import MAX_VOXELS, choose_shown, html_page, html_report
from monai_stcnnt.apps.review.page import page_thumbnail
from monai_stcnnt.apps.review.review import review_series
from monai_stcnnt.data import SeriesRecord
from monai_stcnnt.errors import LayoutError
from monai_stcnnt.mri.phantom import cine_phantom
from tests.apps.browser import Page, open_page
from tests.apps.review.test_views import affine_of

__all__: list[str] = []

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SIGMA = 15.0
CLEAN = 300.0 * cine_phantom((6, 72, 64)).image.abs().numpy()[:, None]
TITLE = "<script>alert(1)</script> & scan"


def series(array: np.ndarray) -> SeriesRecord:
    array = array if array.ndim == 5 else array[None]
    return SeriesRecord(
        array, np.diag([-1.5, -1.5, 8.0, 1.0]), 35.0 * np.arange(array.shape[1]), {"secret": "DOE^JANE"}
    )


def noisy() -> SeriesRecord:
    noise = SIGMA * np.random.default_rng(0).standard_normal((2, *CLEAN.shape))
    return series(np.hypot(CLEAN + noise[0], noise[1]))


def payload(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    values: dict[str, Any] = json.loads(found[1])
    return values


def unpack(packed: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    """What the page's script reads, read once more in Python."""
    plain = np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), np.uint8).reshape(2, *shape)
    levels = (plain[0].astype(np.int64) + 256 * plain[1].astype(np.int64)).cumsum(axis=-1) % 65536
    values: np.ndarray = packed["offset"] + packed["step"] * levels
    return values


@pytest.mark.parametrize("sigma", [None, SIGMA, 1e-3])
def test_values_are_kept_finer_than_the_noise(sigma: float | None) -> None:
    before, after = noisy(), series(CLEAN)
    data = payload(html_page(review_series(before, after, sigma=sigma)))
    for name, record in (("before", before), ("after", after)):
        found = unpack(data[name], (6, 1, 72, 64))
        step = data[name]["step"]
        assert step <= max((sigma or 0) / 16, np.ptp(record.array) / 65535 * 1.001)
        np.testing.assert_allclose(found, record.array[0], atol=0.501 * step)  # the view of this affine is its own
    assert data["residual"] is None


def test_residual_of_complex_images_is_in_the_page() -> None:
    clean = np.stack([CLEAN, np.zeros_like(CLEAN)])
    noise = SIGMA * np.random.default_rng(0).standard_normal(clean.shape)
    data = payload(html_page(review_series(series(clean + noise), series(clean), sigma=SIGMA)))
    found = unpack(data["residual"], (6, 1, 72, 64))
    inside = CLEAN > 0
    np.testing.assert_allclose(found[inside], noise[0][inside], atol=SIGMA / 30)


def test_page_has_no_word_about_the_patient_and_its_strings_are_escaped() -> None:
    page = html_page(review_series(noisy(), series(CLEAN), title=TITLE, sigma=SIGMA))
    assert "JANE" not in re.sub(r"[A-Za-z0-9+/=]{200,}", "", page)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; scan" in page


def test_policy_forbids_all_but_the_page_s_own_script_and_style() -> None:
    page = html_page(review_series(noisy(), series(CLEAN), sigma=SIGMA))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]
    for tag in ("script", "style"):
        source = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert source is not None
        assert base64.b64encode(hashlib.sha256(source[1].encode()).digest()).decode() in policy[1]
    assert not re.search(r"""(src|href|action)\s*=|@import|url\(|https?://""", page)


def test_figures_and_flags_are_in_the_table() -> None:
    before, after = noisy(), series(0.9 * CLEAN)
    found = review_series(before, after, sigma=SIGMA)
    page = html_page(found)
    assert found.flags
    assert f"{len(found.flags)} flagged" in page
    assert page.count('<span class="mark warn">') == len(found.flags)
    assert page.count("<li>") == len(found.flags)
    assert "Nothing flagged" in html_page(review_series(before, series(CLEAN), sigma=SIGMA))


@pytest.mark.parametrize(
    ("shape", "expected", "said"),
    [
        ((25, 1, 208, 216), (25, 1, 1), ""),
        ((1, 64, 256, 256), (1, 2, 1), "one of 2 slices"),
        ((300, 40, 64, 64), (24, 1, 1), "the first"),
        ((1, 1, 3000, 3000), (1, 1, 2), "one of 2 rows and columns"),
    ],
)
def test_large_series_are_shown_in_part(shape: tuple[int, ...], expected: tuple[int, ...], said: str) -> None:
    shown = choose_shown(shape)
    frames, slice_step, pixel_step = shown.frames, shown.slice_step, shown.pixel_step
    held = frames * -(-shape[1] // slice_step) * -(-shape[2] // pixel_step) * -(-shape[3] // pixel_step)
    assert 0 < held <= MAX_VOXELS
    assert (slice_step, pixel_step) == expected[1:] or shape[0] == 300
    assert said in shown.sentence(shape)
    assert bool(shown.sentence(shape)) == bool(said)


def test_a_cine_of_a_slice_makes_a_small_page(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clean = np.repeat(np.repeat(CLEAN, 3, axis=-1), 3, axis=-2)[:, :, :208, :192]
    clean = clean[:4]
    before = series(clean + SIGMA * rng.standard_normal(clean.shape))
    after = series(clean + 0.3 * SIGMA * rng.standard_normal(clean.shape))
    path = html_report(review_series(before, after, sigma=SIGMA), tmp_path / "new" / "page.html")
    assert path.stat().st_size < 4e6
    assert path.stat().st_size < 4.5 * clean.size  # so that MAX_VOXELS stay within some 15 MB


def test_series_of_different_size_are_refused() -> None:
    with pytest.raises(LayoutError, match="one size"):
        review_series(noisy(), series(CLEAN[:3]))


@pytest.mark.parametrize("codes", ["LPS", "RAS", "ASR", "LSA", "IPR"])
def test_the_three_planes_of_a_volume_stand_as_radiologists_expect(codes: str) -> None:
    """Walk the page's planes by their axes and flips, and find the voxels of the patient's corners."""
    rng = np.random.default_rng(0)
    before = SeriesRecord(rng.random((1, 1, 4, 5, 6)), affine_of(codes, (1.0, 2.0, 3.0)), np.zeros(1))
    data = payload(html_page(review_series(before, before)))
    stored = unpack(data["after"], (1, 4, 5, 6) if not data["view"]["transpose"] else (1, 4, 6, 5))[0]
    canonical = nib.as_closest_canonical(nib.Nifti1Image(before.array[0, 0].transpose(2, 1, 0), before.affine))
    ras = canonical.get_fdata()  # index 0 is left, posterior, inferior
    expected = {
        "axial": lambda k: ras[::-1, ::-1, k].T, "coronal": lambda k: ras[::-1, k, ::-1].T,
        "sagittal": lambda k: ras[k, ::-1, ::-1].T,
    }  # fmt: skip
    axes = ["slice", "row", "column"]
    assert {plane["name"] for plane in data["planes"]} == set(expected)
    assert (data["planes"][0]["across"], data["planes"][0]["down"]) == ("column", "row")
    for plane in data["planes"]:
        [through] = set(axes) - {plane["across"], plane["down"]}
        turned = stored.transpose([axes.index(axis) for axis in (through, plane["down"], plane["across"])])
        turned = turned[:, ::-1] if plane["flipDown"] else turned
        turned = turned[:, :, ::-1] if plane["flipAcross"] else turned
        wanted = [expected[plane["name"]](k) for k in range(len(turned))]
        options = (wanted, wanted[::-1])  # slices may run either way
        assert any(np.allclose(turned, option, atol=1e-3) for option in options), plane
        assert plane["letters"]["left"] == ("A" if plane["name"] == "sagittal" else "R")
        assert plane["letters"]["top"] == ("A" if plane["name"] == "axial" else "S")


def test_the_page_tells_how_the_result_was_made_and_carries_a_thumbnail(tmp_path: Path) -> None:
    origin = {"Software": "monai_stcnnt 1 <2>", "Device": "cpu"}
    path = html_report(review_series(noisy(), series(CLEAN), sigma=SIGMA, origin=origin), tmp_path / "page.html")
    assert "<dt>Software</dt><dd>monai_stcnnt 1 &lt;2&gt;</dd>" in path.read_text()
    with Image.open(io.BytesIO(base64.b64decode(page_thumbnail(path).split(",")[1]))) as picture:
        assert picture.size == (142, 160)  # 64 x 72 pixels of 1.5 mm
    assert page_thumbnail(tmp_path / "missing.html") == ""
    assert "How it was made" not in html_page(review_series(noisy(), series(CLEAN), sigma=SIGMA))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, SeriesRecord, Path]]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    folder = tmp_path_factory.mktemp("page")
    before, after = noisy(), series(CLEAN)
    path = html_report(review_series(before, after, title=TITLE, sigma=SIGMA), folder / "page.html")
    with open_page(CHROMIUM, path, folder / "profile") as page:
        page.wait("document.body && document.body.dataset.ready === 'true'")
        yield page, before, folder


def picture(page: Page, folder: Path) -> np.ndarray:
    """The page as it looks, gray."""
    path = folder / "shot.png"
    path.write_bytes(base64.b64decode(page.send("Page.captureScreenshot")["data"]))
    with Image.open(path) as shot:
        return np.asarray(shot.convert("L"), float)


def crop(page: Page, image: np.ndarray, selector: str) -> np.ndarray:
    """An element of a picture of the page."""
    query = f"document.querySelector({selector!r}).getBoundingClientRect()"
    x, y, width, height = (page.ask(f"{query}.{name}") for name in ("x", "y", "width", "height"))
    return image[round(y) : round(y + height), round(x) : round(x + width)]


@pytest.mark.slow
class TestInChromium:
    """One page, looked at and used."""

    def test_it_asks_for_nothing_and_complains_about_nothing(self, pages: tuple[Page, SeriesRecord, Path]) -> None:
        page, _, folder = pages
        assert page.requests == [(folder / "page.html").as_uri()]
        assert page.complaints == []
        page.ask("fetch('https://example.org/').catch(() => 0)")
        assert any("Content Security Policy" in text for text in page.complaints)

    def test_the_cine_plays_and_pauses(self, pages: tuple[Page, SeriesRecord, Path]) -> None:
        page, _, folder = pages
        for frame in (1, 4, 0):
            page.wait(f"document.body.dataset.frame === '{frame}'")
        page.ask("document.activeElement.blur()")
        page.press(" ")
        assert page.ask("document.getElementById('play').textContent") == "Play"
        shown = page.ask("document.body.dataset.frame")
        before = crop(page, picture(page, folder), "#compare")
        page.press(".")
        assert page.ask("document.body.dataset.frame") == str((int(shown) + 1) % 6)
        page.wait("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
        assert np.abs(crop(page, picture(page, folder), "#compare") - before).max() > 20

    def test_the_divider_moves_by_mouse_and_keys(self, pages: tuple[Page, SeriesRecord, Path]) -> None:
        page, _, folder = pages
        now = "Number(document.getElementById('divider').getAttribute('aria-valuenow'))"
        box = "document.getElementById('compare').getBoundingClientRect()"
        x, y, width, height = (page.ask(f"{box}.{name}") for name in ("x", "y", "width", "height"))
        page.mouse("mousePressed", x + 0.5 * width, y + 0.4 * height)
        page.mouse("mouseMoved", x + 0.2 * width, y + 0.4 * height)
        page.mouse("mouseReleased", x + 0.2 * width, y + 0.4 * height)
        assert page.ask(now) == pytest.approx(20, abs=1)
        page.ask("document.getElementById('divider').focus()")
        roughness = {}
        for key, share in (("Home", 0), ("End", 100)):
            page.press(key)
            assert page.ask(now) == share
            page.wait("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
            image = crop(page, picture(page, folder), "#compare")
            middle = image[len(image) // 4 : -len(image) // 4, image.shape[1] // 4 : -image.shape[1] // 4]
            roughness[share] = np.abs(np.diff(middle, axis=0)).mean()
        assert roughness[100] > 1.5 * roughness[0]  # all of it before, all of it after
        page.press("ArrowLeft")
        assert page.ask(now) == 98

    def test_values_are_told_where_the_keys_move_the_cursor(self, pages: tuple[Page, SeriesRecord, Path]) -> None:
        page, before, _ = pages
        page.ask("document.querySelector('#compare canvas').focus()")
        for key in ("ArrowUp", "ArrowLeft"):
            page.press(key)
        page.wait("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
        said = page.ask("document.getElementById('readout').textContent")
        found = re.search(r"voxel \(x, y, z, t\)(\d+), (\d+), (\d+), (\d+)before(-?[\d.]+)after(-?[\d.]+)", said)
        assert found is not None, said
        x, y, z, t = (int(found[n]) for n in range(1, 5))
        assert float(found[5]) == pytest.approx(before.array[0, t, z, y, x], abs=SIGMA / 16)
        assert float(found[6]) == pytest.approx(CLEAN[t, z, y, x], abs=SIGMA / 16)

    def test_dragging_changes_window_and_level_and_the_wheel_zooms(
        self, pages: tuple[Page, SeriesRecord, Path]
    ) -> None:
        page, _, folder = pages
        value = "Number(document.getElementById('{}').value)".format
        box = "document.getElementById('residual').getBoundingClientRect()"
        x, y, width, height = (page.ask(f"{box}.{name}") for name in ("x", "y", "width", "height"))
        start = [page.ask(value(name)) for name in ("width", "level")]
        page.mouse("mousePressed", x + 0.5 * width, y + 0.5 * height)
        page.mouse("mouseMoved", x + 0.5 * width + 60, y + 0.5 * height + 30)
        page.mouse("mouseReleased", x + 0.5 * width + 60, y + 0.5 * height + 30)
        end = [page.ask(value(name)) for name in ("width", "level")]
        assert end == pytest.approx([start[0] * 1.2, start[1] + 0.1 * start[0]], rel=0.01)
        page.ask("document.getElementById('tool').value = 'pan'")
        page.send(
            "Input.dispatchMouseEvent", type="mouseWheel", x=x + 0.25 * width, y=y + 0.25 * height, deltaX=0,
            deltaY=-500,
        )  # fmt: skip
        page.wait("document.getElementById('zoom-text').textContent === '2.7\u00d7'")
        told = "document.getElementById('readout').textContent"
        frames = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
        page.mouse("mouseMoved", x + 0.25 * width, y + 0.25 * height)
        page.wait(frames)
        place = [int(n) for n in re.findall(r"\)(\d+), (\d+)", page.ask(told))[0]]
        assert place == [pytest.approx(16, abs=1), pytest.approx(18, abs=1)]  # what is under the mouse stays there
        before = crop(page, picture(page, folder), "#compare")
        page.mouse("mousePressed", x + 0.25 * width, y + 0.25 * height)
        page.mouse("mouseMoved", x + 0.75 * width, y + 0.25 * height)
        page.mouse("mouseReleased", x + 0.75 * width, y + 0.25 * height)
        page.wait(frames)
        assert np.abs(crop(page, picture(page, folder), "#compare") - before).max() > 20
        page.ask("document.getElementById('reset').click()")
        assert [page.ask(value(name)) for name in ("width", "level")] == pytest.approx(start, rel=1e-3)
        assert page.ask("document.getElementById('zoom-text').textContent") == "1.0\u00d7"

    def test_the_theme_changes_and_all_controls_have_names(self, pages: tuple[Page, SeriesRecord, Path]) -> None:
        page, _, folder = pages
        light = picture(page, folder).mean()
        page.ask("document.getElementById('theme').click()")
        page.wait("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
        assert abs(picture(page, folder).mean() - light) > 40
        unnamed = (
            "[...document.querySelectorAll('input, select, button, [role]')].filter((e) => "
            "!e.hidden && !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).length"
        )
        assert page.ask(unnamed) == 0
        assert page.ask("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_volume_is_shown_in_three_planes_that_follow_the_cursor(tmp_path: Path) -> None:
    assert CHROMIUM is not None
    values = np.random.default_rng(0).random((1, 24, 20, 28)).astype(np.float32)
    volume = series(values)
    path = html_report(review_series(volume, volume, sigma=0.1), tmp_path / "page.html")
    with open_page(CHROMIUM, path, tmp_path / "profile") as page:
        page.wait("document.body && document.body.dataset.ready === 'true'")
        assert page.ask("document.querySelectorAll('#planes canvas').length") == 3
        assert page.ask("document.querySelector('#compare .letter.top').textContent") == "A"
        page.ask("document.querySelectorAll('#planes button')[1].click()")
        assert page.ask("document.querySelector('#compare .letter.top').textContent") == "S"
        page.ask("document.getElementById('slice').value = 3")
        page.ask("document.getElementById('slice').dispatchEvent(new Event('input'))")
        page.wait("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
        said = page.ask("document.getElementById('readout').textContent")
        found = re.search(r"\(x, y, z, t\)(\d+), (\d+), (\d+), (\d+)before([\d.]+)", said)
        assert found is not None, said
        x, y, z, t = (int(found[n]) for n in range(1, 5))
        assert y == 3
        assert float(found[5]) == pytest.approx(values[t, z, y, x], abs=0.01)
        assert page.complaints == []
