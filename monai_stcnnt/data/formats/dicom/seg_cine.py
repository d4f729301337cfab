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


def join_phases(objects: Sequence[Dataset], places: Sequence[Sequence[str]]) -> Dataset:
    """Join binary segmentation objects, one for each phase, as one.

    Args:
        objects: in the order of time, with the same segments.
        places: SOPInstanceUIDs of the images, by phase and slice.

    Returns:
        An object whose dimensions are segment, time and position; UIDs and dates are those of the first phase.
    """
    joined = copy.deepcopy(objects[0])
    groups, pixels, referred = [], [], []
    for time, (one, uids) in enumerate(zip(objects, places, strict=True), start=1):
        for group in one.PerFrameFunctionalGroupsSequence:
            source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
            content = group.FrameContentSequence[0]
            segment = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            content.TemporalPositionIndex = time
            content.DimensionIndexValues = [segment, time, list(uids).index(source) + 1]
            groups.append(group)
        pixels.append(np.reshape(one.pixel_array, (-1, one.Rows, one.Columns)))
        referred += list(one.ReferencedSeriesSequence[0].ReferencedInstanceSequence)
    joined.PerFrameFunctionalGroupsSequence = groups
    joined.NumberOfFrames = len(groups)
    joined.PixelData = pack_bits(np.concatenate(pixels))
    joined.ReferencedSeriesSequence[0].ReferencedInstanceSequence = referred
    joined.DimensionIndexSequence.insert(1, _time_dimension(joined))
    if "DimensionOrganizationType" in joined:
        del joined.DimensionOrganizationType  # positions repeat
    return joined


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
