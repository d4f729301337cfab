# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Readers and writers of scanner files, with one array contract: :class:`SeriesRecord`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from monai_stcnnt.data.content import check_image
from monai_stcnnt.data.formats.base import Format, OutputDtype, SeriesSummary
from monai_stcnnt.data.formats.dicom.listing import list_dicom_series
from monai_stcnnt.data.formats.dicom.seg import write_dicom_seg
from monai_stcnnt.data.formats.dicom.series import DicomSeries
from monai_stcnnt.data.formats.dicom.slabs import read_dicom
from monai_stcnnt.data.formats.dicom.writer import write_dicom_series
from monai_stcnnt.data.formats.itk import read_itk, write_itk
from monai_stcnnt.data.formats.nifti import read_nifti
from monai_stcnnt.data.formats.nifti_writer import write_nifti
from monai_stcnnt.data.formats.numpy_files import read_numpy, write_numpy
from monai_stcnnt.data.formats.registry import (
    OutputFormat,
    can_read,
    files_of,
    format_of,
    list_images,
    open_series,
    read_series,
)
from monai_stcnnt.data.listing import list_series, output_path, series_datalist
from monai_stcnnt.data.paths import check_exists, check_output_folder, write_aside
from monai_stcnnt.data.record import ImageKind, SeriesRecord, record_from_channel_first, regular_frame_times
from monai_stcnnt.data.sinks import SeriesSink
from monai_stcnnt.data.slabs import SeriesSlabs

if TYPE_CHECKING:
    from monai_stcnnt.data.content_transform import CheckMRContentd
    from monai_stcnnt.data.reader import SeriesReader
    from monai_stcnnt.data.training.clips import PrepareClips, split_datalist
    from monai_stcnnt.data.training.draws import (
        Draw,
        NumberedDataset,
        NumberedLoader,
        NumberedSampler,
        RankLoader,
        draw_seed,
    )
    from monai_stcnnt.data.training.frame_labels import (
        UNLABELLED,
        LoadFrameLabelsd,
        read_frame_labels,
    )
    from monai_stcnnt.data.training.labelled_folders import (
        MNMS_TO_ACDC,
        acdc_datalist,
        labelled_datalist,
        mnms_datalist,
        paired_datalist,
        training_images,
    )
    from monai_stcnnt.data.writer import SaveSeries, record_from_metatensor, write_labels, write_series
    from monai_stcnnt.data.writer_transform import SaveImageSeriesd

__all__ = [
    "MNMS_TO_ACDC",
    "UNLABELLED",
    "CheckMRContentd",
    "DicomSeries",
    "Draw",
    "Format",
    "ImageKind",
    "LoadFrameLabelsd",
    "NumberedDataset",
    "NumberedLoader",
    "NumberedSampler",
    "OutputDtype",
    "OutputFormat",
    "PrepareClips",
    "RankLoader",
    "SaveImageSeriesd",
    "SaveSeries",
    "SeriesReader",
    "SeriesRecord",
    "SeriesSink",
    "SeriesSlabs",
    "SeriesSummary",
    "acdc_datalist",
    "can_read",
    "check_exists",
    "check_image",
    "check_output_folder",
    "draw_seed",
    "files_of",
    "format_of",
    "labelled_datalist",
    "list_dicom_series",
    "list_images",
    "list_series",
    "mnms_datalist",
    "open_series",
    "output_path",
    "paired_datalist",
    "read_dicom",
    "read_frame_labels",
    "read_itk",
    "read_nifti",
    "read_numpy",
    "read_series",
    "record_from_channel_first",
    "record_from_metatensor",
    "regular_frame_times",
    "series_datalist",
    "split_datalist",
    "training_images",
    "write_aside",
    "write_dicom_seg",
    "write_dicom_series",
    "write_itk",
    "write_labels",
    "write_nifti",
    "write_numpy",
    "write_series",
]

_LATE = {
    "content_transform": ("CheckMRContentd",),
    "reader": ("SeriesReader",),
    "training.clips": ("PrepareClips", "split_datalist"),
    "training.draws": ("Draw", "NumberedDataset", "NumberedLoader", "NumberedSampler", "RankLoader", "draw_seed"),
    "training.frame_labels": ("UNLABELLED", "LoadFrameLabelsd", "read_frame_labels"),
    "training.labelled_folders": (
        "MNMS_TO_ACDC", "acdc_datalist", "labelled_datalist", "mnms_datalist", "paired_datalist",
        "training_images",
    ),
    "writer": ("SaveSeries", "record_from_metatensor", "write_labels", "write_series"),
    "writer_transform": ("SaveImageSeriesd",),
}  # fmt: skip
"""Names that need torch and MONAI, by their module: they are imported on first use, since headers need neither."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever has the name
    """Import a name of :data:`_LATE`."""
    for module, names in _LATE.items():
        if name in names:
            globals()[name] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
