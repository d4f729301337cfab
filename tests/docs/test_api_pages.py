# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Every public name has an entry in the documentation, and a docstring that tells the shapes of what it takes."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from docs.docstrings import to_markdown

__all__: list[str] = []

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = (REPOSITORY / "tests" / "api_surface.txt").read_text(encoding="utf-8").split()
# Shapes in parentheses such as (B, C, T, H, W) or (coils, ...), or what says that there is none to tell.
SHAPE = re.compile(r"\((?:[\w' *+./\[\]-]+,)+ ?[\w' *+./\[\]-]*\)|\bshapes?\b|\bH x W\b|\bany size\b|\bvectors?\b")


def resolve(name: str) -> Any:  # noqa: ANN401 - whatever is public
    """Import a public name."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def takes_arrays(obj: Any) -> bool:  # noqa: ANN401 - any callable
    """Whether the signature names tensors or arrays."""
    signature = inspect.signature(obj)
    annotations = [*(parameter.annotation for parameter in signature.parameters.values()), signature.return_annotation]
    return any(re.search(r"Tensor|ndarray", str(annotation), re.IGNORECASE) for annotation in annotations)


def computing(obj: Any) -> list[Any]:  # noqa: ANN401 - a function or a class
    """The functions of a public name that compute: itself, or the methods that are called for an instance."""
    if not inspect.isclass(obj):
        return [obj]
    names = ("__init__", "__call__", "forward")
    owners = [base for base in obj.__mro__ if base.__module__.startswith("monai_stcnnt")]
    return [vars(base)[name] for base in owners for name in names if name in vars(base)]


@functools.cache
def pages() -> str:
    """All pages of the API."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "docs" / "api").glob("*.md")))


@pytest.mark.parametrize("package", sorted({name.rpartition(".")[0] for name in NAMES}))
def test_every_package_has_a_page(package: str) -> None:
    assert re.search(rf"^::: {re.escape(package)}$", pages(), re.MULTILINE)


@pytest.mark.parametrize("name", [n for n in NAMES if isinstance(resolve(n), (type, FunctionType))])
def test_docstring_tells_shapes(name: str) -> None:
    obj = resolve(name)
    assert inspect.getdoc(obj), f"{name} has no docstring"
    functions = computing(obj)
    if any(takes_arrays(function) for function in functions):
        text = "\n".join(inspect.getdoc(one) or "" for one in (obj, *functions))
        assert SHAPE.search(text), f"{name} takes or returns arrays, and no shape is told"


def test_roles_and_formulas_become_markdown() -> None:
    text = "See :func:`~a.b.c` and :math:`x^2`.\n\n.. math:: y = \\frac{1}\n    {2}\n\nThe end."
    first, second, last = to_markdown(text).split("\n\n")
    assert first.startswith("See `c` and <span><math")
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in first
    assert "<mfrac><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></mfrac>" in second
    assert 'display="block"' in second
    assert last == "The end."


def test_formulas_have_one_notation_and_none_stays_raw() -> None:
    formulas = 0
    for path in sorted((REPOSITORY / "monai_stcnnt").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\\\\\(|\\\(\w|\$\$", text), f"{path}: write formulas as :math:`...` or .. math::"
        found = re.findall(r"^.*(?:\.\. math::|:math:`).*$", text, re.MULTILINE)
        formulas += len(found)
        for line in found:
            assert not re.search(r"\\[a-zA-Z]", to_markdown(line.strip())), f"{path}: {line}"
    assert formulas > 20


@pytest.mark.slow
def test_site_has_an_entry_for_every_name(tmp_path: Path) -> None:
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, cwd=REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr
    ids = set(re.findall(r'id="(monai_stcnnt[\w.]+)"', "".join(p.read_text("utf-8") for p in tmp_path.rglob("*.html"))))
    shown = {id(resolve(name)) for name in NAMES if name in ids}  # under whichever of its names
    assert [name for name in NAMES if name not in ids and id(resolve(name)) not in shown] == []
    networks = (tmp_path / "api" / "networks.html").read_text("utf-8")
    assert networks.count("<math") >= 3
    pages = "".join(p.read_text("utf-8") for p in tmp_path.rglob("*.html"))
    assert not re.search(r"\\mathrm|\\sum|\\sigma|:math:|&lt;math", pages)
    notebook = (tmp_path / "notebooks" / "01_denoise_a_scan.html").read_text("utf-8")
    pictures = re.findall(r'src="([^"]+\.png)"', notebook)
    assert len(pictures) >= 2
    assert all((tmp_path / "notebooks" / picture).is_file() for picture in pictures)
    assert "search_index.js" in {path.name for path in (tmp_path / "search").iterdir()}, "search needs no server"
    sources = re.findall(r'<(?:script|link|img)[^>]* (?:src|href)="(https?://[^"]+)"', pages)
    assert sources == [], "the site fetches nothing"
