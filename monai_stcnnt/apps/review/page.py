# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What all pages share: one file that opens offline, with a policy that forbids it every request."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from importlib.resources import files
from pathlib import Path
from string import Template

from monai_stcnnt import __version__

__all__ = ["fill_page", "page_thumbnail"]


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
