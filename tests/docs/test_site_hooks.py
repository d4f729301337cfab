# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Notebooks become pages with their pictures and working links; scripts come from the site itself."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("nbconvert")
pytest.importorskip("mkdocs")

from docs.site_hooks import FETCHED, NOTEBOOKS, notebook_page, on_post_page

__all__: list[str] = []


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_page_has_the_pictures_of_its_notebook(path: Any) -> None:  # noqa: ANN401
    page, pictures = notebook_page(path)
    linked = set(re.findall(r"!\[[^\]]*\]\(([^)]+\.png)\)", page))
    assert linked == set(pictures)
    assert len(pictures) + page.count("data:image/gif;base64,") >= 2
    assert all(content.startswith(b"\x89PNG") for content in pictures.values())
    assert not re.search(r"\]\(\d\d_\w+\.ipynb\)", page)


@pytest.mark.parametrize(("url", "expected"), [("index.html", "javascripts"), ("api/mri.html", "../javascripts")])
def test_scripts_come_from_the_site(url: str, expected: str) -> None:
    page: Any = SimpleNamespace(url=url)
    assert on_post_page(f'<script src="{FETCHED}">', page) == f'<script src="{expected}/iframe-worker.js">'
