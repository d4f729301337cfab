# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of several images: which of them is asked for, and which two make one complex image."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import numpy as np

from monai_stcnnt.errors import NotAnImageError, PhaseRangeError, SeriesSelectionError, StcnntError
from monai_stcnnt.phase_units import radians_per_unit

__all__ = ["Component", "ImagePart", "alone_refused", "choose_parts", "join_parts", "pair_of", "phase_scale"]

logger = logging.getLogger(__name__)

Component = Literal["magnitude", "phase", "real", "imaginary", "velocity", "derived"]

_PAIRS: tuple[tuple[Component, Component], ...] = (("real", "imaginary"), ("magnitude", "phase"))
_OTHER_HALF = {"phase": "the magnitude", "real": "the imaginary part", "imaginary": "the real part"}


class ImagePart(Protocol):
    """One of several images in a file or folder.

    Attributes:
        key: the name to ask for.
        component: what its values are.
        reason: what makes it a derived image, empty elsewhere.
        error: why it cannot be used, None where it can.
        echo_time: in milliseconds, NaN where unknown.
    """

    @property
    def key(self) -> str: ...  # noqa: D102 - see the class
    @property
    def component(self) -> Component: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102
    @property
    def error(self) -> StcnntError | None: ...  # noqa: D102
    @property
    def echo_time(self) -> float: ...  # noqa: D102
    def describe(self) -> str:
        """One line without anything about the patient."""
        ...

    def answers_to(self, series: str) -> bool:
        """Whether it is meant by a name: its key, or another name of its own."""
        ...


PartT = TypeVar("PartT", bound=ImagePart)


def choose_parts(found: Sequence[PartT], series: str | int | None, path: Path) -> list[PartT]:
    """Choose one image, or the two parts of a complex one.

    Args:
        found: what there is.
        series: the name of one, two names joined by ``+``, or None for all there is.
        path: the file or folder, for messages.

    Returns:
        One image, or magnitude and phase, or real and imaginary part.

    Raises:
        SeriesSelectionError: if there are several and none, or one that does not exist, is asked for.
        NotAnImageError: if it is a part of a complex image without its other half, or nothing to denoise.
    """
    if isinstance(series, str) and "+" in series:
        parts = [part for key in series.split("+") for part in _named(found, key.strip(), path)]
        pair = pair_of(parts) if len(parts) == 2 else []
        if not pair:
            names = " and ".join(part.describe() for part in parts)
            raise SeriesSelectionError(f"{path}: {names} are not the two parts of a complex image.")
        return pair
    chosen = list(found) if series is None else _named(found, str(series), path)
    usable = [part for part in chosen if part.error is None]
    pair = pair_of(usable)
    if pair:
        logger.info("%s: %s and %s make one complex image", path, pair[0].describe(), pair[1].describe())
        return pair
    magnitudes = [part for part in usable if part.component == "magnitude"]
    if len(chosen) > 1 and len(magnitudes) == 1 and len(usable) == len(chosen):
        others = ", ".join(part.describe() for part in chosen if part is not magnitudes[0])
        logger.warning("%s: %s is taken, not %s", path, magnitudes[0].describe(), others)
        return magnitudes
    if len(chosen) > 1:
        raise _no_choice(found, "several series", path)
    if chosen[0].error is not None:
        raise chosen[0].error
    refused = alone_refused(chosen[0])
    if refused:
        raise NotAnImageError(f"{path}, series {chosen[0].key}: {refused}")
    return chosen


def alone_refused(part: ImagePart) -> str:
    """Why an image cannot be worked on alone; empty for a magnitude."""
    if part.component == "magnitude":
        return ""
    if part.component not in _OTHER_HALF:
        why = f" ({part.reason})" if part.reason else ""
        return f"this is not a magnitude{why}, and is left as it is."
    article = "an" if part.component == "imaginary" else "a"
    return (
        f"{article} {part.component} image alone cannot be worked on. Ask for it together with "
        f"{_OTHER_HALF[part.component]} of the same image, as KEY+KEY."
    )


def join_parts(first: np.ndarray, second: np.ndarray, radians: float | None) -> np.ndarray:
    """Join magnitude and phase, or real and imaginary part.

    Args:
        first: magnitude or real part ``(1, ...)``.
        second: phase or imaginary part ``(1, ...)``.
        radians: for a phase, radians for one unit of it, from :func:`phase_scale`; else None.

    Returns:
        Real and imaginary part ``(2, ...)``.
    """
    if radians is None:
        return np.concatenate([first, second])
    angle = second * radians
    return np.concatenate([first * np.cos(angle), first * np.sin(angle)])


def phase_scale(name: str, low: float, high: float) -> float:
    """Radians for one unit of a phase, see :func:`~monai_stcnnt.mri.radians_per_unit`.

    Args:
        name: what to call it in a message.
        low: its smallest value, or where its range is declared to begin.
        high: its largest value.

    Returns:
        The scale.

    Raises:
        PhaseRangeError: if the range tells no unit.
    """
    try:
        return radians_per_unit(low, high)
    except PhaseRangeError as error:
        raise PhaseRangeError(f"{name}: {error}") from error


def _named(found: Sequence[PartT], name: str, path: Path) -> list[PartT]:
    chosen = [part for part in found if part.answers_to(name)]
    if not chosen:
        raise _no_choice(found, f"no series {name!r}", path)
    return chosen


def _no_choice(found: Sequence[PartT], what: str, path: Path) -> SeriesSelectionError:
    listing = "; ".join(part.describe() for part in found)
    return SeriesSelectionError(f"{path} holds {what}. Choose one with series=KEY: {listing}.")


def pair_of(chosen: Sequence[PartT]) -> list[PartT]:
    """The two halves of one complex image among its parts, two or all four; nothing where that is not plain.

    Args:
        chosen: the parts.

    Returns:
        Real and imaginary part, or magnitude and phase.
    """
    by_component = {part.component: part for part in chosen if part.error is None}
    if len(by_component) != len(chosen) or len(chosen) not in (2, 4):
        return []
    for pair in _PAIRS:
        parts = [by_component[component] for component in pair if component in by_component]
        if len(parts) == 2 and _same_echo(*parts):
            return parts
    return []


def _same_echo(first: ImagePart, second: ImagePart) -> bool:
    times = first.echo_time, second.echo_time
    return (math.isnan(times[0]) and math.isnan(times[1])) or math.isclose(*times, abs_tol=1e-2)
