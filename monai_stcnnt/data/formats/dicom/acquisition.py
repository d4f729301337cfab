# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a DICOM header says of the acquisition, as far as it tells of the noise: classic and enhanced.

Vendors write these entries in different places and sometimes wrongly, so they are hints; the image decides.
"""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset

__all__ = ["acquisition_facts"]

_NUMBERS = {
    "PercentSampling": "percent_sampling",
    "PercentPhaseFieldOfView": "percent_phase_fov",
    "NumberOfAverages": "averages",
    "ReconstructionDiameter": "reconstruction_diameter",
    "ParallelReductionFactorInPlane": "parallel_in_plane",
    "ParallelReductionFactorOutOfPlane": "parallel_out_of_plane",
}


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
        ``parallel_in_plane`` and ``parallel_out_of_plane``; a matrix that is larger than the image is left out.
    """
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
        ("acquired_rows", rows, _number(dataset.get("Rows"))),
        ("acquired_columns", columns, _number(dataset.get("Columns"))),
    ):
        if acquired and size and acquired <= size:
            found[name] = int(acquired)
    return found


def _matrix(dataset: Dataset, direction: str | None) -> tuple[float, float]:
    """Acquired rows and columns; 0 where they are not told."""
    classic = dataset.get("AcquisitionMatrix")
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
    if dataset.get(keyword) is not None:
        return dataset.get(keyword)
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for element in next(iter(dataset.get(groups) or ()), ()):
            if element.VR == "SQ" and len(element.value) and element.value[0].get(keyword) is not None:
                return element.value[0].get(keyword)
    return None


def _number(value: Any) -> float:  # noqa: ANN401 - whatever a header holds
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0
