# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What the values of a DICOM image are, as its header tells: a magnitude, a part of a complex image, or neither.

Vendors say it in different places: ComplexImageComponent, the image type or frame type, private attributes (GE), the
units, and a smallest value below zero.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from monai_stcnnt.data.formats.parts import Component

__all__ = ["Nature", "first_value", "nature_of", "number_of", "value_of"]

_COMPONENTS: dict[str, Component] = {
    **dict.fromkeys(("M", "MAGNITUDE", "M_FFE", "M_SE", "M_IR", "M_PCA", "SW_M"), "magnitude"),
    **dict.fromkeys(("P", "PHASE", "PHASE MAP", "PHASE_MAP", "P_FFE", "P_SE", "P_IR"), "phase"),
    **dict.fromkeys(("R", "REAL", "R_FFE", "R_SE", "R_IR"), "real"),
    **dict.fromkeys(("I", "IMAGINARY", "I_FFE", "I_SE", "I_IR"), "imaginary"),
    **dict.fromkeys(
        ("VELOCITY", "VELOCITY MAP", "VELOCITY_MAP", "P_PCA", "PHASE CONTRAST", "PCA_P", "FLOW", "V", "VEL"), "velocity"
    ),
}
_GE_COMPONENTS: tuple[Component, ...] = ("magnitude", "phase", "real", "imaginary")
_GE_IMAGE_TYPE = 0x0043102F
# Words of an image type that say that values are computed from images: maps and differences.
_DERIVED = re.compile(
    r"^(E?ADC|.*APPARENT.*|FA|.*ANISOTROPY.*|.*TENSOR.*|.*DIFFUSION.COEFF.*|EXP|SUB(TRACT(ION)?)?|DIFFERENCE|CBF|CBV|R?CBF"
    r"|R?CBV|RELCBF|RELCBV|MTT|TTP|TMAX|PBP|GBP|PERFUSION_MAP|K.?TRANS|.*[_ ]MAP|MAP|B0|B0MAP|FIELD.?MAP|PHASE.DIFF.*"
    r"|T[12]S?_?MAP|R2S?.*|T2_STAR|T2\*.*|FF|FAT.?FRACTION|WATER.?FRACTION|SW_P|SWI_P|QSM|T.?TEST|.*STATISTIC.*|Z.?SCORE"
    r"|SCREEN.?SAVE|SECONDARY.CAPTURE|COLOR|RGB|MTR|ELASTO.*|STIFFNESS|WAVE)$"
)
# Units of values that no magnitude has, as rescale types and codes of measured quantities.
_UNITS = re.compile(
    r"^(K?HZ|RAD|MRAD|DEG|M?S|MS|1/S|S-1|(C?M|MM)/S|.*MM2/S.*|PPM|PPB|%|ML/.*|BQML|HU|KPA)$", re.IGNORECASE
)
# Words that differ between the frames of one image.
_PROCESSING = re.compile(
    r"^(NONE|ND|NORM|DIS[23]D|MFSPLIT|FIL|RETRO|MOSAIC|VFRAME|PFP|(FM|TE|TI|TR|ECHO|SH|SL|B|BVAL)_?\d.*)$"
)
_MODALITIES = ("MR", "")


@dataclass(frozen=True)
class Nature:
    """What a frame holds.

    Attributes:
        component: what its values are.
        words: those of its image type that tell contrasts apart.
        reason: what makes it a derived image, empty elsewhere.
    """

    component: Component
    words: tuple[str, ...] = ()
    reason: str = ""


def nature_of(dataset: Dataset, places: Sequence[Dataset]) -> Nature:
    """Tell what the values of a frame are.

    Args:
        dataset: the header.
        places: where the frame's attributes stand, its own functional groups first.

    Returns:
        Its nature.
    """
    kind = first_value(places, "FrameType") or first_value(places, "ImageType") or []
    words = [str(word).strip().upper() for word in (kind if isinstance(kind, (MultiValue, list)) else [kind])]
    telling = tuple(word for word in dict.fromkeys(words[2:]) if word and not _PROCESSING.match(word))
    reason = _derived(dataset, places, words)
    return Nature("derived" if reason else _component(dataset, places, words[2:]), telling, reason)


def _component(dataset: Dataset, places: Sequence[Dataset], words: Sequence[str]) -> Component:
    if _GE_IMAGE_TYPE in dataset and str(value_of(dataset, "Manufacturer") or "").upper().startswith("GE"):
        code = number_of(dataset[_GE_IMAGE_TYPE].value)
        if code in (1, 2, 3):
            return _GE_COMPONENTS[int(code)]
    stated = str(first_value(places, "ComplexImageComponent") or "").upper()
    found = [_COMPONENTS[word] for word in words if word in _COMPONENTS]
    if "velocity" in found or ("PCA" in words and "phase" in found):
        return "velocity"
    if stated in _COMPONENTS and _COMPONENTS[stated] != "magnitude":
        return _COMPONENTS[stated]
    return next((component for component in found if component != "magnitude"), "magnitude")


def _derived(dataset: Dataset, places: Sequence[Dataset], words: Sequence[str]) -> str:
    """What makes a frame a derived image; empty where it may be a magnitude or a part of a complex image."""
    modality = str(value_of(dataset, "Modality") or "").upper()
    if modality not in _MODALITIES:
        return f"its modality is {modality[:16] if modality.isalnum() else 'another one'}, not MR"
    found = next((word for word in words[2:] if word not in _COMPONENTS and _DERIVED.match(word)), "")
    if found:
        return f"its image type says {found[:32]}"
    for unit in (str(first_value(places, "RescaleType") or ""), _mapped_unit(places)):
        if _UNITS.match(unit.strip()) and "P" not in words and "PHASE" not in words:
            return f"its values have the unit {unit.strip()[:16]}"
    return _signed(dataset, places, words[2:])


def _signed(dataset: Dataset, places: Sequence[Dataset], words: Sequence[str]) -> str:
    """Whether values are below zero by more than a filter makes of a magnitude, in a frame that calls itself none."""
    low, high = (number_of(first_value([dataset], f"{name}ImagePixelValue")) for name in ("Smallest", "Largest"))
    if low is None or high is None or _component(dataset, places, words) != "magnitude":
        return ""
    slope = number_of(first_value(places, "RescaleSlope")) or 1.0
    intercept = number_of(first_value(places, "RescaleIntercept")) or 0.0
    low, high = sorted((slope * low + intercept, slope * high + intercept))
    return f"its values reach from {low:g} to {high:g}" if low < 0 and -low > 0.1 * abs(high) else ""


def _mapped_unit(places: Sequence[Dataset]) -> str:
    for place in places:
        for item in place.get("MeasurementUnitsCodeSequence") or []:
            return str(item.get("CodeValue") or "")
    return ""


def first_value(places: Sequence[Dataset], name: str) -> object:
    """First value of an attribute that is not empty, None where there is none."""
    tag = _tag_of(name)
    for place in places:
        if tag in place:
            value: object = place[tag].value
            if value is not None and value != "":
                return value
    return None


def value_of(dataset: Dataset, name: str) -> Any:  # noqa: ANN401 - whatever the attribute holds
    """Value of an attribute, None where it is absent or empty; several times faster than ``dataset.get``."""
    return first_value((dataset,), name)


@lru_cache(None)
def _tag_of(name: str) -> BaseTag:
    return Tag(name)


def number_of(value: object) -> float | None:
    """A number, or the first of several; None where it is none."""
    if isinstance(value, (MultiValue, list)):
        value = value[0] if len(value) else None
    try:
        return None if value is None else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
