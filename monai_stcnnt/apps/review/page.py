# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Pages: one file that opens offline, with a policy that forbids it every request; and the page of a folder.

The page of a folder lists the series with thumbnails and flags, and links their pages.
"""

from __future__ import annotations

import base64
import hashlib
import html
import os
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from monai_stcnnt import __version__
from monai_stcnnt.apps.review.figures import FIGURES
from monai_stcnnt.data import write_aside

__all__ = ["fill_page", "index_page", "page_thumbnail", "write_index"]


def fill_page(name: str, *, script: str | None = None, **parts: str) -> str:
    """Fill a template.

    Args:
        name: of the template, ``report``, ``heart`` or ``index``.
        script: name of the page's script, if any.
        **parts: what the template asks for, already escaped, with the title and perhaps the address of a thumbnail;
            style, script, version and policy are added.

    Returns:
        The page.
    """
    style, code = _template("report.css"), "" if script is None else _template("page.js") + _template(script)
    policy = ["default-src 'none'", "base-uri 'none'", "form-action 'none'", f"style-src 'sha256-{_hash(style)}'"]
    policy += [f"script-src 'sha256-{_hash(code)}'"] if code else ["img-src data:"]
    thumbnail = f'<meta name="thumbnail" content="{parts["thumbnail"]}">\n' if "thumbnail" in parts else ""
    head = Template(_template("head.html")).substitute(
        title=parts["title"], style=style, policy="; ".join(policy), thumbnail=thumbnail
    )
    body = Template(_template(f"{name}.html")).substitute(parts, script=code, version=html.escape(__version__))
    return head + body


def page_thumbnail(path: Path) -> str:
    """Find the small picture that the page of a series holds.

    Args:
        path: the page.

    Returns:
        Its address, which holds the picture; empty where the page is missing or has none.
    """
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8", errors="replace") as file:
        start = file.read(200_000)
    found = re.search(r'<meta name="thumbnail" content="(data:image/png;base64,[A-Za-z0-9+/=]*)">', start)
    return found[1] if found else ""


def _template(name: str) -> str:
    return (files("monai_stcnnt") / "apps" / "review" / "templates" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def write_index(entries: Sequence[Mapping[str, Any]], path: str | Path, title: str) -> Path:
    """Write the page that leads to the pages of several series.

    Args:
        entries: one object per series, as ``stcnnt denoise --json`` prints them: ``source``, ``series``, ``status``,
            and where known ``report`` (the page of the series), ``qc`` (its figures), ``seconds`` and ``error``.
        path: the page; an existing one is replaced.
        title: a heading, usually the folder's name.

    Returns:
        The path.

    Raises:
        OutputNotWritableError: if the page cannot be written.
    """
    path = Path(path).expanduser()
    with write_aside(path) as aside:
        aside.write_text(index_page(entries, path.parent, title), encoding="utf-8")
    return path


def index_page(entries: Sequence[Mapping[str, Any]], folder: Path, title: str) -> str:
    """Make the page of :func:`write_index` as text; ``folder`` is where it will be."""
    done = sum(entry["status"] == "done" for entry in entries)
    flagged = sum(bool((entry.get("qc") or {}).get("flags")) for entry in entries)
    missing = f"{len(entries) - done} not done" if done < len(entries) else ""
    columns = [figure.column for figure in FIGURES if figure.column]
    return fill_page(
        "index",
        title=html.escape(title),
        subtitle=f"{done} of {len(entries)} series done",
        verdict=", ".join(filter(None, (missing, f"{flagged} flagged" if flagged else "nothing flagged"))),
        verdict_class="warn" if flagged or done < len(entries) else "good",
        head="".join(f'<th scope="col">{html.escape(name[0].upper() + name[1:])}</th>' for name in columns),
        rows="".join(_row(entry, folder) for entry in entries),
    )


def _row(entry: Mapping[str, Any], folder: Path) -> str:
    """One series: its picture, its name with the link, its status, figures, flags and time."""
    source = Path(entry["source"])
    name = " ".join(filter(None, (source.name if source.is_absolute() else source.as_posix(), entry.get("series"))))
    page = Path(entry["report"]) if entry.get("report") else None
    picture = page_thumbnail(page) if page else ""
    image = f'<img src="{picture}" alt="">' if picture else ""
    label = html.escape(name)
    if page:
        link = html.escape(quote(Path(os.path.relpath(page, folder)).as_posix()))
        label, image = f'<a href="{link}">{label}</a>', f'<a href="{link}" tabindex="-1">{image}</a>'
    found = entry.get("qc") or {}
    marks = "".join(
        f'<span class="mark warn" title="{html.escape(flag["message"])}">{html.escape(flag["name"])}</span> '
        for flag in found.get("flags", ())
    )
    if "flags" in found:
        marks = marks or '<span class="mark good">ok</span>'
    values = [(f.column, f.text(found[f.name]) if found.get(f.name) is not None else "") for f in FIGURES if f.column]
    seconds = f"{entry['seconds']:.0f} s" if entry["status"] == "done" and entry.get("seconds") is not None else ""
    reason = f'<p class="reason">{html.escape(str(entry["error"]))}</p>' if entry.get("error") else ""
    cells = [("flags", marks), *values, ("time", seconds)]
    rest = "".join(f'<td data-label="{html.escape(label)}">{value}</td>' for label, value in cells)
    return (
        f'<tr><td class="picture">{image}</td><th scope="row">{label}<p>{html.escape(str(entry["status"]))}</p>{reason}'
        f"</th>{rest}</tr>"
    )
