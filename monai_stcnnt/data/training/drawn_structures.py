# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What an expert drew in which slice and frame: the file ``labelled.json`` beside partly labelled images.

It looks like this, with slices from 0; what it holds beside this is not read::

    {"frames": {"frame08": {"index0": 7, "endocardial_slices": [1, 2], "epicardial_slices": [],
                            "slices_with_nothing_drawn": [0, 3]}}}
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from monai_stcnnt.data.paths import check_exists
from monai_stcnnt.errors import UnreadableFileError

__all__ = ["DRAWN_FILE", "read_drawn_structures"]

DRAWN_FILE = "labelled.json"
_NAMES = {"cavity": "endocardial_slices", "wall": "epicardial_slices", "nothing": "slices_with_nothing_drawn"}


def read_drawn_structures(path: str | Path) -> dict[int, dict[str, list[int]]]:
    """Read what was drawn.

    Args:
        path: the file.

    Returns:
        For every labelled frame, counted from 0, the slices in which the cavity of the left ventricle was drawn, those
        with its outer contour, and those in which nothing was drawn: ``{7: {"cavity": [1, 2], "wall": [], "nothing":
        [0, 3]}}``. Slices in none of the lists are not labelled.

    Raises:
        MissingFileError: if there is no such file.
        UnreadableFileError: if it says something else.
    """
    file = check_exists(path)
    try:
        frames: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["frames"]
        drawn = {
            int(frame["index0"]): {name: [int(z) for z in frame[key]] for name, key in _NAMES.items()}
            for frame in frames.values()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableFileError(
            f"{file} does not say what was drawn: {error!r}. It needs frames with index0, endocardial_slices, "
            "epicardial_slices and slices_with_nothing_drawn."
        ) from error
    for t, structures in drawn.items():
        alone = set(structures["wall"]) - set(structures["cavity"])
        both = set(structures["nothing"]) & set(structures["cavity"])
        if t < 0 or alone or both:
            raise UnreadableFileError(
                f"{file}, frame {t} (from 0): slices {sorted(alone)} have an outer contour and no cavity, slices "
                f"{sorted(both)} a cavity and nothing. Correct the lists."
            )
    return drawn
