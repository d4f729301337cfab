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

import numpy as np
from pydicom.multival import MultiValue

from monai_stcnnt.data.formats.dicom.headers import Header, first_value, number_in, value_of
from monai_stcnnt.data.formats.parts import Component

__all__ = ["ALL_DIRECTIONS", "Nature", "nature_of", "of_range", "range_of"]

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
    r"^(E?ADC|.*APPARENT.*|FA|.*ANISOTROPY.*|.*TENSOR.*|.*DIFFUSION.COEFF.*|EXP|SUB(TRACT(ION|ED)?)?|.*DIFFERENCE.*"
    r"|DIVISION|QUANTITY|STD_?DEV(IATION)?|VARIANCE|(R|REL|CORRECTED|CO)?(CBF|CBV|MTT|TTP|TMAX)|PBP|GBP|PERFUSION_MAP"
    r"|.*TRANSIT.*|K.?TRANS|.*[_ ]?MAP|B[01]|FIELD.?MAP|PHASE.DIFF.*|FF|PDFF|(FAT|WATER).?FRACTION|FRACTION"
    r"|SW_P|SWI_P|QSM|T.?TEST|.*STATISTIC.*|Z.?SCORE|SCREEN.?(SAVE|SHOT|CAPTURE)S?|SECONDARY.CAPTURE|COLOR|RGB|MTR"
    r"|ELASTO.*|STIFFNESS|WAVE|RADIAL_DIFFUSION|AXIAL_DIFFUSION|KURTOSIS)$"
)
# Words that name a map where an image is derived, and else its weighting.
_RELAXATION = re.compile(r"^(T1RHO|T[12]|T2_?STAR|T2\*|R[12]S?|R2_?STAR|R2\*|RHO|PD)$")
# Units of values that no magnitude has, as rescale types and codes of measured quantities.
_UNITS = re.compile(
    r"^(K?HZ|RAD|MRAD|DEG|M?S|MS|1/S|S-1|(C?M|MM)/S|.*MM2/S.*|PPM|PPB|%|ML/.*|BQML|HU|KPA)$", re.IGNORECASE
)
# Words that differ between the frames of one image.
_PROCESSING = re.compile(
    r"^(NONE|ND|NORM|DIS[23]D|MFSPLIT|FIL|RETRO|MOSAIC|VFRAME|PFP|(FM|TE|TI|TR|ECHO|SH|SL|B|BVAL)_?\d.*)$"
)
_MODALITIES = ("MR", "")
_UNDERSHOOT = 0.1  # of the largest value, that a filter may make of a magnitude
_AXES = ("RL", "AP", "FH")
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
    """

    component: Component
    words: tuple[str, ...] = ()
    reason: str = ""
    diffusion: str = ""
    is_flow: bool = False


def nature_of(header: Header, places: Sequence[Header]) -> Nature:
    """Tell what the values of a frame are, apart from the range that its header declares.

    Args:
        header: of its file.
        places: where the frame's attributes stand, its own functional groups first.

    Returns:
        Its nature, for :func:`of_range`.
    """
    words = _words(places)
    telling = tuple(word for word in dict.fromkeys(words[2:]) if word and not _PROCESSING.match(word))
    reason = _derived(header, places, words)
    if reason:
        return Nature("derived", telling, reason)
    component = _component(header, places, words[2:])
    if component == "velocity":
        direction = _direction(header, places)
        return Nature(component, (*telling, direction) if direction else telling)
    is_flow = number_in([header], _GE_VELOCITY, 0.0) > 0
    return Nature(component, telling, diffusion=_diffusion(places), is_flow=is_flow)


def range_of(header: Header, slope: float, intercept: float) -> tuple[float, float]:
    """The range of a frame's values, as its header declares it.

    Args:
        header: of its file.
        slope: of its values.
        intercept: of its values.

    Returns:
        Smallest and largest value; NaN where they are not told and may be below zero, (0, inf) where they cannot.
    """
    low, high = (number_in([header], f"{name}ImagePixelValue") for name in ("Smallest", "Largest"))
    if math.isnan(low) or math.isnan(high):
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


def _derived(header: Header, places: Sequence[Header], words: Sequence[str]) -> str:
    """What makes a frame a derived image; empty where it may be a magnitude or a part of a complex image."""
    modality = str(value_of(header, "Modality") or "").upper()
    if modality not in _MODALITIES:
        return f"its modality is {modality[:16] if modality.isalnum() else 'another one'}, not MR"
    is_derived, is_diffusion = words[:1] == ("DERIVED",), "DIFFUSION" in words
    for word in words[2:]:
        if is_diffusion and word in ("B0", "B1"):  # weightings, and no maps of the field
            continue
        if (word not in _COMPONENTS and _DERIVED.match(word)) or (is_derived and _RELAXATION.match(word)):
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
