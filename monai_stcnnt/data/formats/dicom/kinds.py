# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What the values of a DICOM image are, as its header tells: a magnitude, a part of a complex image, or neither.

Vendors say it in different places: ComplexImageComponent, the image type or frame type, private attributes (GE), the
units, and a smallest value below zero.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from pydicom.multival import MultiValue
from pydicom.uid import UID

from monai_stcnnt.data.formats.dicom.headers import (
    DECODE_FAILURES,
    Header,
    first_value,
    has_pixels,
    number_in,
    quiet_pydicom,
    value_of,
)
from monai_stcnnt.data.formats.parts import Component
from monai_stcnnt.errors import UnreadableFileError

__all__ = ["ALL_DIRECTIONS", "OWN_KIND", "Nature", "nature_of", "of_range", "other_kind", "range_of", "stated_class"]

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
_GE_VELOCITY = 0x001910CC  # encoded velocity, mm/s
_PHILIPS_VELOCITY = 0x2001101A  # encoded velocity along three directions
_PHILIPS_DIRECTION = 0x20011004  # of diffusion: I for an image of all directions
_SIEMENS_VELOCITY = re.compile(r"_v\d+(in|ap|pa|rl|lr|fh|hf|through)?", re.IGNORECASE)
# Words of an image type that say that values are computed from images: maps and differences.
_DERIVED = re.compile(
    r"^([ED]?ADC|.*APPARENT.*|FA|COL(OU?R)?_?FA|.*ANISOTROPY.*|.*TENSOR.*|.*DIFFUSION.COEFF.*|EXP|SUB(TRACT(ION|ED)?)?"
    r"|.*DIFFERENCE.*|DIVISION|QUANTITY|STD_?DEV(IATION)?|VARIANCE|PBP|GBP|PERFUSION[_ ](MAP|MEAN|WEIGHTED|ASL)"
    r"|(.*_)?(R|REL|CORRECTED|CO)?(CBF|CBV|MTT|TTP|TMAX)(_.*)?|.*TRANSIT.*|K.?TRANS|.*[_ ]?MAP|B[01]|FIELD.?MAP"
    r"|PHASE.DIFF.*|FF|PDFF|(FAT|WATER).?FRACTION|FRACTION|SW_P|SWI_P|QSM.*|SUSCEPTIBILITY.*|T.?TEST|.*STATISTIC.*"
    r"|Z.?SCORE|SCREEN.?(SAVE|SHOT|CAPTURE)S?|SECONDARY.CAPTURE|COLOR|RGB|MTR|ELASTO.*|STIFFNESS|WAVE"
    r"|RADIAL_DIFFUSION|AXIAL_DIFFUSION|KURTOSIS)$"
)
# Words that name a map where an image is derived by a scanner and they are not the first, and else its weighting.
_RELAXATION = re.compile(r"^(T1RHO|T[12]|T2_?STAR|T2\*|R[12]S?|R2_?STAR|R2\*|RHO|PD)$")
# Units of values that no magnitude has, as rescale types and codes of measured quantities.
_UNITS = re.compile(
    r"^(K?HZ|RAD|MRAD|DEG|M?S|MS|1/S|S-1|(C?M|MM)/S|.*MM2/S.*|PPM|PPB|%|ML/.*|BQML|HU|KPA)$", re.IGNORECASE
)
# Words that differ between the frames of one image.
_PROCESSING = re.compile(
    r"^(NONE|ND|NORM|DIS[23]D|MFSPLIT|FIL|RETRO|MOSAIC|VFRAME|PFP|(FM|TE|TI|TR|ECHO|SH|SL|B|BVAL)_?\d.*)$"
)
_MODALITIES = frozenset(("CR", "CT", "DX", "MG", "MR", "NM", "OP", "OT", "PT", "RF", "RG", "SC", "US", "XA", "XC"))
_UNDERSHOOT = 0.1  # of the largest value, that a filter may make of a magnitude
_AXES = ("RL", "AP", "FH")
# Storage classes of images of a patient; other classes of the standard, such as reports and captures, are skipped.
_IMAGES = re.compile(
    r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(1|1\..*|2|2\..*|3\.1|4|4\.[134]|12\..*|13\..*|20|128|128\..*|130)$"
)
OWN_KIND = "of a vendor's own kind"
"""What a file of a vendor's own class without pixels is called."""
ALL_DIRECTIONS = "ISO"
"""Word of a diffusion weighting that has no direction, among others that have one."""


@dataclass(frozen=True)
class Nature:
    """What a frame holds.

    Attributes:
        component: what its values are.
        words: those of its image type that tell contrasts apart, and the direction of a velocity.
        reason: what makes it a derived image, empty elsewhere.
        diffusion: ``DIRECTIONAL`` or ``ISOTROPIC`` for a diffusion weighting, empty elsewhere.
        is_flow: whether velocities were measured, which GE tells apart by their sign.
        modality: ``MR``, or what the header says instead.
    """

    component: Component
    words: tuple[str, ...] = ()
    reason: str = ""
    diffusion: str = ""
    is_flow: bool = False
    modality: str = "MR"


def nature_of(header: Header, places: Sequence[Header]) -> Nature:
    """Tell what the values of a frame are, apart from the range that its header declares.

    Args:
        header: of its file.
        places: where the frame's attributes stand, its own functional groups first.

    Returns:
        Its nature, for :func:`of_range`.
    """
    words = _words(places)
    told = words[2:] if words[:1] != ("DERIVED",) else (*words[2:], "DERIVED")
    telling = tuple(word for word in dict.fromkeys(told) if word and not _PROCESSING.match(word))
    reason = _derived(header, places, words)
    if reason:
        return Nature("derived", telling, reason, modality=_modality(header))
    component = _component(header, places, words[2:])
    if component == "velocity":
        direction = _direction(header, places)
        return Nature(component, (*telling, direction) if direction else telling)
    is_flow = number_in([header], _GE_VELOCITY, 0.0) > 0
    return Nature(component, telling, diffusion=_diffusion(places), is_flow=is_flow)


def range_of(
    header: Header, slope: float, intercept: float, padding: tuple[float, float] | None = None
) -> tuple[float, float]:
    """The range of a frame's values, as its header declares it.

    Args:
        header: of its file.
        slope: of its values.
        intercept: of its values.
        padding: stored values that are none, which a declared range may hold.

    Returns:
        Smallest and largest value; NaN where they are not told and may be below zero, (0, inf) where they cannot.
    """
    low, high = (number_in([header], f"{name}ImagePixelValue") for name in ("Smallest", "Largest"))
    if math.isnan(low) or math.isnan(high) or (padding is not None and low <= padding[1]):
        may_be_signed = number_in([header], "PixelRepresentation", 0) == 1 or intercept < 0 or slope < 0
        return (math.nan, math.nan) if may_be_signed else (0.0, math.inf)
    low, high = sorted((slope * low + intercept, slope * high + intercept))
    return low, high


def of_range(nature: Nature, low: float, high: float) -> Nature:
    """Tell from its range whether an image that calls itself a magnitude is one.

    Args:
        nature: what it calls itself.
        low: smallest value.
        high: largest value.

    Returns:
        The nature.
    """
    if nature.component != "magnitude" or not low < 0 or -low <= _UNDERSHOOT * abs(high):
        return nature
    if nature.is_flow:
        return replace(nature, component="velocity")
    return replace(nature, component="derived", reason=f"its values reach from {low:g} to {high:g}")


def _words(places: Sequence[Header]) -> tuple[str, ...]:
    kind = first_value(places, "FrameType") or first_value(places, "ImageType") or ()
    return tuple(str(word).strip().upper() for word in (kind if isinstance(kind, (MultiValue, list)) else (kind,)))


def _component(header: Header, places: Sequence[Header], words: Sequence[str]) -> Component:
    if _GE_IMAGE_TYPE in header and str(value_of(header, "Manufacturer") or "").upper().startswith("GE"):
        code = number_in([header], _GE_IMAGE_TYPE)
        if code in (1, 2, 3):
            return _GE_COMPONENTS[int(code)]
    stated = _COMPONENTS.get(str(first_value(places, "ComplexImageComponent") or "").upper())
    found = [_COMPONENTS[word] for word in words if word in _COMPONENTS]
    if "velocity" in found and stated != "magnitude":
        return "velocity"
    of_words = next((component for component in found if component not in ("magnitude", "velocity")), None)
    component = (None if stated == "magnitude" else stated) or of_words or "magnitude"
    is_flow = "PCA" in words or _SIEMENS_VELOCITY.search(str(first_value(places, "SequenceName") or ""))
    return "velocity" if component == "phase" and is_flow else component


def _direction(header: Header, places: Sequence[Header]) -> str:
    """Direction of a velocity, by the axis of the patient or as the sequence calls it; empty where it is not told."""
    vector = first_value(places, "VelocityEncodingDirection")
    if isinstance(vector, (MultiValue, list)) and len(vector) == len(_AXES) and any(vector):
        return _AXES[int(np.argmax(np.abs(np.array(vector, float))))]
    found = _SIEMENS_VELOCITY.search(str(first_value(places, "SequenceName") or ""))
    if found and found[1]:
        return str(found[1]).upper()
    vector = value_of(header, _PHILIPS_VELOCITY)
    if isinstance(vector, (MultiValue, list)) and any(vector):
        return f"DIR{int(np.argmax(np.abs(np.array(vector, float)))) + 1}"
    return ""


def _diffusion(places: Sequence[Header]) -> str:
    kind = str(first_value(places, "DiffusionDirectionality") or "").upper()
    if kind:
        return {"BMATRIX": "DIRECTIONAL", "NONE": ""}.get(kind, kind)
    return {"I": "ISOTROPIC", "S": "DIRECTIONAL", "R": "DIRECTIONAL", "P": "DIRECTIONAL", "M": "DIRECTIONAL"}.get(
        str(first_value(places, _PHILIPS_DIRECTION) or "").strip(), ""
    )


def _modality(header: Header) -> str:
    """What made the image; MR where nothing is told."""
    modality = str(value_of(header, "Modality") or "MR").strip().upper()
    return modality if modality in _MODALITIES else "another one"


def _derived(header: Header, places: Sequence[Header], words: Sequence[str]) -> str:
    """What makes a frame a derived image; empty where it may be a magnitude or a part of a complex image."""
    modality = _modality(header)
    if modality != "MR":
        return f"its modality is {modality}, not MR"
    is_derived, is_diffusion = words[:2] == ("DERIVED", "PRIMARY"), "DIFFUSION" in words
    for place, word in enumerate(words[2:]):
        if is_diffusion and word in ("B0", "B1"):  # weightings, and no maps of the field
            continue
        if (word not in _COMPONENTS and _DERIVED.match(word)) or (is_derived and place and _RELAXATION.match(word)):
            return f"its image type says {word[:32]}"
    for unit in (str(first_value(places, "RescaleType") or ""), _mapped_unit(places)):
        if _UNITS.match(unit.strip()) and not {"P", "PHASE"}.intersection(words):
            return f"its values have the unit {unit.strip()[:16]}"
    return ""


def _mapped_unit(places: Sequence[Header]) -> str:
    for place in places:
        mappings = [place, *(value_of(place, "RealWorldValueMappingSequence") or [])]
        for item in (item for mapping in mappings for item in value_of(mapping, "MeasurementUnitsCodeSequence") or []):
            return str(item.get("CodeValue") or "")
    return ""


def other_kind(header: Header, file: Path) -> str:
    """Tell what a file says that it is, if not an image: a report, a capture, the state of a viewer.

    Args:
        header: its header.
        file: the file, for messages.

    Returns:
        Words for a message; empty for an image.

    Raises:
        UnreadableFileError: if the header is damaged there.
    """
    try:
        with quiet_pydicom():
            name, is_private = stated_class(header)
            if not name and str(value_of(header, "Modality") or "") == "SEG":
                return "a segmentation"  # of a class that is newer than the list of them
    except DECODE_FAILURES as error:
        raise UnreadableFileError(f"{file} has a damaged header: {type(error).__name__}. Copy it again.") from None
    return OWN_KIND if is_private and not has_pixels(header) else name


def stated_class(header: Header) -> tuple[str, bool]:
    """Name of the file's class, if it holds no images, and whether it is a vendor's own: these may have no pixels."""
    meta = value_of(header.dataset.file_meta, "MediaStorageSOPClassUID")
    return _class_of(str(meta or value_of(header, "SOPClassUID") or ""))


@lru_cache(256)
def _class_of(text: str) -> tuple[str, bool]:
    """Name of a class of the standard that holds no images, else empty; and whether it is a vendor's own class."""
    uid = UID(text)
    if uid.name != text:
        return "" if _IMAGES.match(text) else uid.name, False
    return "", uid.is_valid and uid.is_private
