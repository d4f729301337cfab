# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a DICOM header tells of the acquisition: when a frame was measured, how it is weighted, and hints for noise.

Classic and enhanced headers, and what vendors keep for themselves. Entries that tell of the noise stand in different
places and are sometimes wrong, so they are hints; the image decides.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from monai_stcnnt.data.formats.dicom.headers import DECODE_FAILURES, Header, first_value, number_in, value_of

__all__ = [
    "acquisition_facts",
    "b_value_of",
    "dimensions_of",
    "heart_rate_of",
    "times_of",
    "volume_time_of",
]

_POSITION_DIMENSIONS = {0x00209056, 0x00209057, 0x00200032, 0x00201041}  # stack, in-stack position, position, location
_TEMPORAL_DIMENSION = 0x00209128
_GE_DELAY = 0x0043107C  # seconds between groups of slices
_B_VALUES = {"SIEMENS": 0x0019100C, "GE": 0x00431039, "PHILIPS": 0x20011003, "UIH": 0x00651009}
_GE_OFFSET = 100_000  # GE adds a flag above the b-value
_LARGEST_B_VALUE = 20_000
_GE_SEQUENCE = 0x0019109C
_PHILIPS_EPI_FACTOR = 0x20011013
# Philips: seconds from the start of the scan to that of the dynamic, number of the heart or labeling phase, label or
# control, number of the diffusion direction.
_PHILIPS_BEGIN, _PHILIPS_PHASE, _PHILIPS_LABEL, _PHILIPS_GRADIENT = 0x200510A0, 0x20011008, 0x20051429, 0x20051413
_LABELS = ("CONTROL", "LABEL")
_NUMBERS = {
    "PercentSampling": "percent_sampling",
    "PercentPhaseFieldOfView": "percent_phase_fov",
    "NumberOfAverages": "averages",
    "ReconstructionDiameter": "reconstruction_diameter",
    "ParallelReductionFactorInPlane": "parallel_in_plane",
    "ParallelReductionFactorOutOfPlane": "parallel_out_of_plane",
}


def times_of(header: Header, places: Sequence[Header], groups: Dataset | None = None) -> dict[str, float]:
    """What orders a frame in time.

    Args:
        header: of its file.
        places: where the frame's attributes stand, its own functional groups first.
        groups: its own functional groups, which hold those of Philips.

    Returns:
        What there is of ``trigger``, ``offset``, ``acquisition``, ``begin`` and ``content`` in milliseconds, of the
        indices of its temporal position, phase and diffusion direction, ``index``, ``phase`` and ``gradient``, and of
        ``label``: 0 for control, 1 for label of arterial spin labeling.
    """
    date = first_value(places, "AcquisitionDate") or ""
    acquired = _moment(first_value(places, "FrameAcquisitionDateTime") or "")
    if math.isnan(acquired):
        acquired = _clock(date, first_value(places, "AcquisitionTime") or "")
    if math.isnan(acquired):
        acquired = _moment(first_value(places, "AcquisitionDateTime") or "")
    candidates = {
        "trigger": number_in(places, "NominalCardiacTriggerDelayTime", number_in(places, "TriggerTime")),
        "offset": 1000 * number_in(places, "TemporalPositionTimeOffset"),
        "acquisition": acquired,
        "content": _clock(first_value(places, "ContentDate") or date, first_value(places, "ContentTime") or ""),
        "index": number_in(places, "TemporalPositionIndex", number_in(places, "TemporalPositionIdentifier")),
        **_philips_times(header, places, groups),
    }
    return {name: value for name, value in candidates.items() if math.isfinite(value)}


def _philips_times(header: Header, places: Sequence[Header], groups: Dataset | None) -> dict[str, float]:
    """What Philips tells of dynamics, phases, labels and directions, nested in enhanced files."""
    own: tuple[Header, ...] = ()
    if str(value_of(header, "Manufacturer") or "PHILIPS").upper().startswith("PHILIPS"):
        own = (*(e.value[0] for e in groups or () if e.VR == "SQ" and e.tag.is_private and e.value), header)
    label = first_value(places, "ASLContext") or first_value(own, _PHILIPS_LABEL) or ""
    text = (label.decode("ascii", "replace") if isinstance(label, bytes) else str(label)).strip().upper()
    return {
        "begin": 1000 * number_in(own, _PHILIPS_BEGIN),
        "phase": number_in(own, _PHILIPS_PHASE),
        "gradient": number_in(own, _PHILIPS_GRADIENT),
        "label": float(_LABELS.index(text)) if text in _LABELS else math.nan,
    }


def b_value_of(header: Header, places: Sequence[Header]) -> float:
    """Diffusion weighting in s/mm2, of the standard's attribute or those of vendors; NaN where there is none."""
    vendor = str(value_of(header, "Manufacturer") or "").upper()
    private = next((tag for start, tag in _B_VALUES.items() if vendor.startswith(start)), None)
    found = number_in(places, "DiffusionBValue", math.nan if private is None else number_in(places, private))
    if vendor.startswith("GE") and found >= _GE_OFFSET:
        found %= _GE_OFFSET
    return found if 0 <= found <= _LARGEST_B_VALUE else math.nan


def heart_rate_of(places: Sequence[Header]) -> float:
    """Beats per minute; NaN where the header tells none that a heart can have."""
    interval = number_in(places, "NominalInterval", number_in(places, "RRIntervalTimeNominal"))
    candidates = (number_in(places, "HeartRate"), 60_000 / interval if interval > 0 else math.nan)
    return next((rate for rate in candidates if 20 <= rate <= 250), math.nan)


def _moment(text: object) -> float:
    """Milliseconds of ``YYYYMMDDHHMMSS[.FFFFFF]``, with or without a time zone; NaN where there is no time of day."""
    return _clock(str(text)[:8], str(text)[8:])


def _clock(date: object, time: object) -> float:
    """Milliseconds of a date and a time of day ``HHMMSS[.FFFFFF]``; a date that is none counts as absent."""
    digits, _, fraction = re.split("[+-]", str(time).strip())[0].partition(".")
    digits = digits.replace(":", "")
    if not digits.isdecimal() or len(digits) not in (4, 6):
        return math.nan
    hours, minutes, seconds = int(digits[:2]), int(digits[2:4]), int(digits[4:] or 0)
    sub = float(f"0.{fraction}") if fraction.isdecimal() else 0.0
    return 1000.0 * (((_day(str(date)) * 24 + hours) * 60 + minutes) * 60 + seconds + sub)


@lru_cache(64)
def _day(date: str) -> int:
    try:
        return datetime.datetime.strptime(re.sub(r"\W", "", date), "%Y%m%d").toordinal()
    except ValueError:
        return 0


def volume_time_of(header: Header, places: Sequence[Header]) -> float:
    """Repetition time of two-dimensional echo-planar imaging, where it is the time of a volume; else NaN."""
    time = number_in(places, "RepetitionTime")
    if not _is_planar(header, places) or str(first_value(places, "MRAcquisitionType") or "2D") != "2D" or not time > 0:
        return math.nan
    return time + 1000 * number_in([header], _GE_DELAY, 0.0)


def _is_planar(header: Header, places: Sequence[Header]) -> bool:
    """Whether imaging is echo-planar, which Philips and GE also say in attributes of their own."""
    sequence = first_value(places, "ScanningSequence") or ""
    if "EP" in (sequence if isinstance(sequence, (MultiValue, list)) else [sequence]):
        return True
    if str(first_value(places, "EchoPlanarPulseSequence") or "") == "YES":
        return True
    vendor = str(value_of(header, "Manufacturer") or "").upper()
    if vendor.startswith("PHILIPS"):
        return number_in(places, _PHILIPS_EPI_FACTOR) > 1
    return vendor.startswith("GE") and "EPI" in str(value_of(header, _GE_SEQUENCE) or "").upper()


def dimensions_of(header: Header, places: Sequence[Header]) -> tuple[int, ...]:
    """Values of the declared dimensions other than position in space; the temporal one, the fastest, at the end."""
    pointers = [int(item.DimensionIndexPointer) for item in value_of(header, "DimensionIndexSequence") or []]
    values = first_value(places, "DimensionIndexValues")
    numbers = [int(v) for v in values] if isinstance(values, (MultiValue, list)) else []
    if len(numbers) != len(pointers):
        return ()
    named = [pair for pair in zip(pointers, numbers, strict=True) if pair[0] not in _POSITION_DIMENSIONS]
    return tuple(number for _, number in sorted(named, key=lambda pair: pair[0] == _TEMPORAL_DIMENSION))


def acquisition_facts(dataset: Dataset) -> dict[str, Any]:
    """Read the acquired matrix, sampling, parallel imaging and averages.

    A classic header has the matrix as frequency rows, frequency columns, phase rows, phase columns, two of which are
    0; an enhanced one counts frequency and phase encoding steps and names the phase direction, in the functional
    groups.

    Args:
        dataset: of one image.

    Returns:
        What there is of ``acquired_rows``, ``acquired_columns``, ``phase_direction`` (``ROW`` or ``COL``),
        ``percent_sampling``, ``percent_phase_fov``, ``averages``, ``reconstruction_diameter``,
        ``parallel_in_plane`` and ``parallel_out_of_plane``; a matrix that is larger than the image is left out. Nothing
        of a header that is damaged there.
    """
    try:
        return _facts(dataset)
    except DECODE_FAILURES:
        return {}


def _facts(dataset: Dataset) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for keyword, name in _NUMBERS.items():
        value = _number(_entry(dataset, keyword))
        if value:
            found[name] = value
    direction = str(_entry(dataset, "InPlanePhaseEncodingDirection") or "").upper()
    if direction.startswith(("ROW", "COL")):
        found["phase_direction"] = direction[:3]
    rows, columns = _matrix(dataset, found.get("phase_direction"))
    for name, acquired, size in (
        ("acquired_rows", rows, _number(value_of(dataset, "Rows"))),
        ("acquired_columns", columns, _number(value_of(dataset, "Columns"))),
    ):
        if acquired and size and acquired <= size:
            found[name] = int(acquired)
    return found


def _matrix(dataset: Dataset, direction: str | None) -> tuple[float, float]:
    """Acquired rows and columns; 0 where they are not told."""
    classic = value_of(dataset, "AcquisitionMatrix")
    if classic is not None and len(classic) == 4:
        frequency_rows, frequency_columns, phase_rows, phase_columns = (_number(n) for n in classic)
        return max(frequency_rows, phase_rows), max(frequency_columns, phase_columns)
    frequency = _number(_entry(dataset, "MRAcquisitionFrequencyEncodingSteps"))
    phase = _number(_entry(dataset, "MRAcquisitionPhaseEncodingStepsInPlane"))
    if direction == "ROW":
        return frequency, phase
    return (phase, frequency) if direction == "COL" else (0.0, 0.0)


def _entry(dataset: Dataset, keyword: str) -> Any:  # noqa: ANN401 - whatever a header holds
    """An entry of the header itself, or of a functional group of the image's first frame."""
    value = value_of(dataset, keyword)
    if value is not None:
        return value
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for element in next(iter(value_of(dataset, groups) or ()), ()):
            if element.VR == "SQ" and len(element.value) and value_of(element.value[0], keyword) is not None:
                return value_of(element.value[0], keyword)
    return None


def _number(value: Any) -> float:  # noqa: ANN401 - whatever a header holds
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0
