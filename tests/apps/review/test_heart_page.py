# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The page of a segmentation: it holds images and masks, follows the frame, switches masks, and asks for nothing."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from monai_stcnnt.apps.heart_figures import HeartEvidence
from monai_stcnnt.apps.review.heart_page import surroundings
from monai_stcnnt.apps.review.segmentation import segmentation_report
from monai_stcnnt.apps.volumes import MaskMeasures, measure_masks
from monai_stcnnt.data import SeriesRecord
from tests.apps.browser import Page, open_page
from tests.apps.fake_segmenter import BRIGHTNESS, beating_heart

__all__: list[str] = []

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NAMES = {1: "right ventricle", 2: "myocardium", 3: "left ventricle"}
TITLE = "<script>alert(1)</script> & scan"


def heart(frames: int = 6, slices: int = 4) -> tuple[SeriesRecord, SeriesRecord, MaskMeasures]:
    labels = beating_heart(frames, slices, 48)
    labels[:, 0] = 0
    mask = SeriesRecord(labels[None], np.diag([-1.5, -1.5, 9, 1]), np.arange(frames) * 40.0, {"secret": "DOE^JANE"})
    decided = np.array([[0, 0.6], *[[1, 0.98]] * (slices - 1)])
    measures = measure_masks(mask, NAMES, "scan", HeartEvidence(None, decided))
    return replace(mask, array=BRIGHTNESS[labels][None]), mask, measures


def write(path: Path, frames: int = 6, slices: int = 4) -> str:
    images, mask, measures = heart(frames, slices)
    learned = "Four people & <numbers>."
    segmentation_report(images, mask, measures, path, class_values=[1, 2, 3], title=TITLE, learned=learned)
    return path.read_text()


def payload(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    values: dict[str, Any] = json.loads(found[1])
    return values


def test_images_masks_and_volumes_are_in_the_page(tmp_path: Path) -> None:
    _, mask, measures = heart()
    data = payload(write(tmp_path / "a.html"))
    shape = [data["shape"][name] for name in ("frames", "slices", "rows", "columns")]
    found = np.frombuffer(zlib.decompress(base64.b64decode(data["masks"])), np.uint8).reshape(shape)
    assert [int((found == value).sum()) for value in NAMES] == [int((mask.array == value).sum()) for value in NAMES]
    grays = np.frombuffer(zlib.decompress(base64.b64decode(data["image"])), np.uint8).reshape(shape)
    assert grays[found == 3].min() > grays[found == 2].max()
    np.testing.assert_allclose(data["curves"], measures.volumes.T, atol=1e-3)
    assert data["times"] == [0, 40, 80, 120, 160, 200]
    assert data["classes"][2]["ends"] == [0, 3]


def test_flags_decisions_wall_and_origin_are_told_and_escaped(tmp_path: Path) -> None:
    page = write(tmp_path / "a.html")
    assert "<script>alert" not in page
    assert "DOE" not in page
    assert "Four people &amp; &lt;numbers&gt;." in page
    assert "Whether slice 1 shows the left ventricle is uncertain." in page
    assert '<th scope="row">Slice 1</th><td class="number">no</td><td class="number">0.60</td>' in page
    assert len(re.findall("<title>[a-z]+ [a-z]+: [0-9]+ mm</title>", page)) == 16


@pytest.mark.parametrize(("frames", "slices"), [(1, 3), (5, 1)])
def test_a_volume_and_a_single_slice_have_a_page_too(tmp_path: Path, frames: int, slices: int) -> None:
    data = payload(write(tmp_path / "a.html", frames, slices))
    assert (data["shape"]["frames"], data["shape"]["slices"]) == (frames, slices)
    assert data["unit"] == ("ml" if slices > 1 else "cm²")


def test_the_part_that_is_shown() -> None:
    present = np.zeros((40, 30), bool)
    present[10:20, 5:9] = True
    assert surroundings(present, 4, 6) == (slice(6, 24), slice(0, 15))
    assert surroundings(~present & False, 4, 6) == (slice(0, 40), slice(0, 30))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    folder = tmp_path_factory.mktemp("page")
    write(folder / "page.html")
    with open_page(CHROMIUM, folder / "page.html", folder / "profile") as opened:
        opened.wait("document.body && document.body.dataset.ready === 'true'")
        opened.ask("document.getElementById('play').getAttribute('aria-pressed') === 'true' && document.getElementById('play').click()")  # fmt: skip  # noqa: E501
        yield opened


def colored(page: Page) -> int:
    """Pixels of the large image that are not gray."""
    page.ask("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    address = page.ask("document.querySelector('#stage canvas').toDataURL()")
    with Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))) as shot:
        values = np.asarray(shot.convert("RGB"), int)
    return int((np.ptp(values, axis=-1) > 20).sum())


@pytest.mark.slow
class TestInChromium:
    """One page, looked at and used."""

    def test_it_asks_for_nothing_and_complains_about_nothing(self, page: Page) -> None:
        assert len(page.requests) == 1
        assert page.complaints == []

    def test_masks_go_off_and_come_back(self, page: Page) -> None:
        before = colored(page)
        assert before > 100
        page.ask("document.querySelector('#classes input[data-value=\"3\"]').click()")
        without_cavity = colored(page)
        assert 0 < without_cavity < before
        page.ask("document.querySelector('#classes input[data-value=\"3\"]').click()")
        page.press("m")
        assert colored(page) == 0
        page.press("m")
        assert colored(page) == before

    def test_volumes_follow_the_frame_and_the_frame_the_curve(self, page: Page) -> None:
        measures = heart()[2]
        page.press(".")
        frame = int(page.ask("document.body.dataset.frame"))
        assert f"{measures.volumes[frame, 2]:.1f} ml" in page.ask("document.getElementById('readout').textContent")
        page.ask("document.getElementById('curve').scrollIntoView()")
        box = "document.getElementById('curve').getBoundingClientRect()"
        x, y = page.ask(f"{box}.right") - 14, page.ask(f"{box}.top") + 40
        page.mouse("mousePressed", x, y)
        page.mouse("mouseReleased", x, y)
        assert int(page.ask("document.body.dataset.frame")) == 5

    def test_a_slice_is_chosen_by_its_small_image_and_by_key(self, page: Page) -> None:
        page.ask("document.querySelectorAll('#slices button')[1].click()")
        assert page.ask("document.body.dataset.slice") == "1"
        page.press("]")
        assert page.ask("document.body.dataset.slice") == "2"
        assert page.ask("document.getElementById('slice-text').textContent") == "3 of 4"

    def test_it_plays(self, page: Page) -> None:
        page.ask("document.getElementById('play').click()")
        start = page.ask("document.body.dataset.frame")
        page.wait(f"document.body.dataset.frame !== '{start}'")
        page.ask("document.getElementById('play').click()")

    def test_it_fits_a_small_screen(self, page: Page) -> None:
        page.send("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
        assert page.ask("document.documentElement.scrollWidth") <= 390
        page.send("Emulation.clearDeviceMetricsOverride")
