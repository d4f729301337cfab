# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Hooks of MkDocs: notebooks with their outputs as pages, and nothing that is fetched from the network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url
from nbconvert import MarkdownExporter

__all__ = ["notebook_page", "on_files", "on_post_page", "on_post_template"]

FETCHED, OURS = "https://unpkg.com/iframe-worker/shim", "javascripts/iframe-worker.js"
NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def notebook_page(path: Path) -> tuple[str, dict[str, bytes]]:
    """Turn a notebook into Markdown.

    Args:
        path: the notebook.

    Returns:
        The page, and its pictures by their paths relative to it.
    """
    notebook = nbformat.read(path, as_version=4)
    for output in (output for cell in notebook.cells for output in cell.get("outputs", ())):
        data = output.get("data", {})
        if "image/gif" in data:  # which nbconvert leaves out
            data["text/html"] = f'<img alt="" src="data:image/gif;base64,{data.pop("image/gif").strip()}">'
    names = {"unique_key": path.stem, "output_files_dir": f"{path.stem}_files"}
    body, resources = MarkdownExporter().from_notebook_node(notebook, resources=names)
    page = re.sub(r"\]\((\d\d_\w+)\.ipynb\)", r"](\1.md)", body)
    return page, dict(resources.get("outputs", {}))


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:  # noqa: ANN401 - whatever MkDocs passes
    """Add the notebooks and their pictures to the files of the site."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        page, pictures = notebook_page(path)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=page))
        for name, content in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_post_page(output: str, page: Page, **_: Any) -> str:  # noqa: ANN401
    """Take the script for search in files, which the plugin `offline` fetches, from the site itself."""
    return output.replace(FETCHED, get_relative_url(OURS, page.url))


def on_post_template(output: str, **_: Any) -> str:  # noqa: ANN401
    """The same for the page of missing pages."""
    return output.replace(FETCHED, OURS)
