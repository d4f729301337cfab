# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The index page: a row per series with its picture, link, flags and time, and nothing that is not escaped."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_stcnnt.apps.review.html import html_report
from monai_stcnnt.apps.review.page import index_page, write_index
from monai_stcnnt.apps.review.review import review_series
from monai_stcnnt.data import SeriesRecord
from monai_stcnnt.errors import OutputNotWritableError

__all__: list[str] = []


@pytest.fixture
def entries(tmp_path: Path) -> list[dict[str, Any]]:
    image = np.random.default_rng(0).random((1, 1, 1, 20, 24)) + 10
    record = SeriesRecord(image, np.eye(4), np.zeros(1))
    page = html_report(review_series(record, record), tmp_path / "pages" / "report scan&1.html")
    flag = {"name": "edge_ratio", "message": "the residual is <stronger>"}
    return [
        {
            "source": "study/scan&1.nii", "series": None, "status": "done", "report": str(page), "seconds": 12.3,
            "qc": {"sigma": 15.0, "snr_before": 12.25, "snr_after": None, "flags": [flag]},
        },
        {"source": "/archive/dicom", "series": "8", "status": "failed", "error": "GeometryError: <b>no</b> position"},
    ]  # fmt: skip


def test_rows_have_pictures_links_flags_and_times(entries: list[dict[str, Any]], tmp_path: Path) -> None:
    page = write_index(entries, tmp_path / "report.html", "a < b").read_text()
    first, second = re.findall(r"<tr><td.*?</tr>", page)
    assert 'href="pages/report%20scan%261.html"' in first
    assert ">study/scan&amp;1.nii<" in first
    assert first.count("<img") == 1
    for text in ("edge_ratio", "the residual is &lt;stronger&gt;", ">15<", ">12.2<", ">12 s<"):
        assert text in first
    assert "href" not in second
    for text in ("dicom 8", "failed", "&lt;b&gt;no&lt;/b&gt;"):
        assert text in second
    assert "1 of 2 series done" in page
    assert "1 not done, 1 flagged" in page
    assert "archive" not in page
    assert "<h1>a &lt; b</h1>" in page


def test_the_policy_allows_pictures_within_the_page_only(entries: list[dict[str, Any]], tmp_path: Path) -> None:
    page = index_page(entries, tmp_path, "study")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "img-src data:" in policy[1]
    assert "script" not in policy[1]
    assert not re.search(r"""(src=(?!"data:))|@import|url\(|https?://|<script""", page)


def test_a_page_that_is_gone_leaves_the_row_without_a_picture(entries: list[dict[str, Any]], tmp_path: Path) -> None:
    Path(entries[0]["report"]).unlink()
    assert "<img" not in index_page(entries, tmp_path, "study")


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputNotWritableError):
        write_index([], tmp_path / "file" / "report.html", "study")
