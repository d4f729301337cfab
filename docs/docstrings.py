# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""For the API pages: reStructuredText of docstrings as Markdown, formulas as MathML, and what plain values are."""

from __future__ import annotations

import re
from typing import Any

from griffe import Attribute, Docstring, Extension, Object
from latex2mathml.converter import convert

__all__ = ["PlainRoles", "to_markdown"]

_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr|exc|obj):`~?([^`]+)`")
_MATH = re.compile(r":math:`([^`]+)`")
_MATH_BLOCK = re.compile(r"^( *)\.\. math::[ \t]*(.*)((?:\n(?:\1 {2,}.*|[ \t]*))*)", re.MULTILINE)


def to_markdown(text: str) -> str:
    """Replace roles by names in code type, and formulas by MathML, which browsers show without a script.

    Args:
        text: a docstring.

    Returns:
        The same in Markdown.
    """
    text = _ROLE.sub(lambda match: f"`{match[1].rsplit('.', 1)[-1]}`", text)
    text = _MATH.sub(lambda match: f"<span>{convert(match[1])}</span>", text)
    return _MATH_BLOCK.sub(lambda match: f"{match[1]}<p>{convert(_joined(match), display='block')}</p>\n\n", text)


def _joined(match: re.Match[str]) -> str:
    """The lines of a formula as one."""
    return " ".join(line.strip() for line in (match[2], *match[3].splitlines()) if line.strip())


class PlainRoles(Extension):
    """Do so for every docstring, and give one to every value of a module that has none."""

    def on_object(self, *, obj: Object, **_: Any) -> None:  # noqa: ANN401 - whatever griffe passes
        """Change the docstring of an object that was read, or add one."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)
        elif isinstance(obj, Attribute) and obj.parent is not None and obj.parent.is_module and obj.name[0] != "_":
            obj.docstring = Docstring(f"`{obj.value}`" if str(obj.value)[0] in "{LU" else f"The same as `{obj.value}`.")
