# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""One DICOM segmentation object of a whole cine, with time as a dimension.

The standard's Frame Content macro numbers the phases (Temporal Position Index), and every frame refers to the image of
its own phase, by which viewers lay it over the cine.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pack_bits

__all__ = ["join_phases", "refer_to_series"]

_OF_A_FRAME = ("DerivationImageSequence", "PlanePositionSequence", "SegmentIdentificationSequence")


def join_phases(objects: Sequence[Dataset], positions: np.ndarray) -> Dataset:
    """Join binary segmentation objects, one for each phase, as one.

    Args:
        objects: in the order of time, with the same segments.
        positions: of the slices, ``(Z, 3)`` in millimeters; several images may share a SOPInstanceUID.

    Returns:
        An object whose dimensions are segment, time and position; UIDs and dates are those of the first phase.
    """
    joined = copy.deepcopy(objects[0])
    groups, pixels, referred = [], [], []
    for time, one in enumerate(objects, start=1):
        for group in one.PerFrameFunctionalGroupsSequence:
            _take_from(one.SharedFunctionalGroupsSequence[0], group)
            content = group.FrameContentSequence[0]
            content.TemporalPositionIndex = time
            content.DimensionIndexValues = [_segment_of(group), time, _place_of(group, positions) + 1]
            groups.append(group)
        pixels.append(np.reshape(one.pixel_array, (-1, one.Rows, one.Columns)))
        referred += list(one.ReferencedSeriesSequence[0].ReferencedInstanceSequence)
    for keyword in _OF_A_FRAME:
        joined.SharedFunctionalGroupsSequence[0].pop(keyword, None)
    order = sorted(range(len(groups)), key=lambda n: list(groups[n].FrameContentSequence[0].DimensionIndexValues))
    joined.PerFrameFunctionalGroupsSequence = [groups[number] for number in order]
    joined.NumberOfFrames = len(groups)
    joined.PixelData = pack_bits(np.concatenate(pixels)[order])
    joined.ReferencedSeriesSequence[0].ReferencedInstanceSequence = referred
    joined.DimensionIndexSequence.insert(1, _time_dimension(joined))
    if "DimensionOrganizationType" in joined:
        del joined.DimensionOrganizationType  # positions repeat
    return joined


def _segment_of(group: Dataset) -> int:
    """Number of the segment, 0 where all frames share it."""
    item = group.get("SegmentIdentificationSequence")
    return int(item[0].ReferencedSegmentNumber) if item else 0


def _place_of(group: Dataset, positions: np.ndarray) -> int:
    """Number of the slice, from 0."""
    position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
    return int(np.linalg.norm(positions - position, axis=1).argmin())


def _take_from(shared: Dataset, group: Dataset) -> None:
    """Give a frame of its own what is shared in an object of one segment or slice, and not in one of several."""
    for keyword in _OF_A_FRAME:
        if keyword in shared and keyword not in group:
            setattr(group, keyword, copy.deepcopy(shared[keyword].value))


def _time_dimension(dataset: Dataset) -> Dataset:
    index = Dataset()
    index.DimensionOrganizationUID = dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID
    index.DimensionIndexPointer = tag_for_keyword("TemporalPositionIndex")
    index.FunctionalGroupPointer = tag_for_keyword("FrameContentSequence")
    index.DimensionDescriptionLabel = "Temporal Position Index"
    return index


def refer_to_series(dataset: Dataset, headers: Sequence[Dataset]) -> None:
    """Sort the images that an object refers to by their series, where slices have a series each.

    Args:
        dataset: the object, which is changed.
        headers: of all its images.
    """
    series = {header.SOPInstanceUID: header.SeriesInstanceUID for header in headers}
    items: dict[str, Dataset] = {}
    for instance in dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence:
        uid = series[instance.ReferencedSOPInstanceUID]
        if uid not in items:
            items[uid] = Dataset()
            items[uid].SeriesInstanceUID, items[uid].ReferencedInstanceSequence = uid, []
        items[uid].ReferencedInstanceSequence.append(instance)
    dataset.ReferencedSeriesSequence = list(items.values())
