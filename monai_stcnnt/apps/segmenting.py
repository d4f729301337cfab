# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Segment files with the segmentation bundle, and measure the masks.

Of several series, one that cannot be segmented does not stop the others.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from monai.data.meta_tensor import MetaTensor
from monai.utils.module import optional_import

from monai_stcnnt import __version__
from monai_stcnnt.apps.batch.publish import is_lack_of_room
from monai_stcnnt.apps.batch.tasks import error_text
from monai_stcnnt.apps.bundles import bundle_folder, expected_remarks, open_inference, plain_errors
from monai_stcnnt.apps.denoising import denoise as denoise_files
from monai_stcnnt.apps.review.names import check_report_name
from monai_stcnnt.apps.review.segmentation import segmentation_report
from monai_stcnnt.apps.review.volume_plot import volume_plot
from monai_stcnnt.apps.volumes import MaskMeasures, check_table_path, measure_masks, write_table
from monai_stcnnt.data import (
    OutputFormat,
    SaveSeries,
    SeriesRecord,
    check_exists,
    check_output_folder,
    list_images,
    output_path,
    read_series,
    record_from_metatensor,
    series_datalist,
    write_labels,
)
from monai_stcnnt.data.formats.nifti_header import is_nifti_path
from monai_stcnnt.data.formats.registry import image_format, result_extension
from monai_stcnnt.data.reader import monai_metadata
from monai_stcnnt.errors import FailedSeriesError, LabelValueError, LayoutError, OutputNotWritableError, StcnntError

__all__ = ["FailedSeries", "SegmentedSeries", "segment"]

SUFFIX = "seg"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SegmentedSeries:
    """One series and its masks.

    Attributes:
        source: the file or folder that it came from.
        series: which series of a DICOM folder, None where there is only one.
        saved: the masks, a file or a folder of DICOM segmentation objects.
        measures: what the masks measure.
    """

    source: Path
    series: str | None
    saved: Path
    measures: MaskMeasures


@dataclass(frozen=True)
class FailedSeries:
    """One of several series, which could not be segmented.

    Attributes:
        source: the file or folder.
        series: which series of a DICOM folder, None where there is only one.
        error: the class of the error and what it says, with paths relative to the input.
    """

    source: Path
    series: str | None
    error: str


@dataclass(frozen=True)
class _Target:
    """Where the masks go, and what is made of them."""

    root: Path
    output: Path
    output_format: OutputFormat
    report: Path | None
    count: int
    savers: dict[str, SaveSeries] = field(default_factory=dict)

    def picture(self, path: Path, saved: Path) -> Path:
        """Name of a picture; with several series, with the place of the masks added."""
        if self.count == 1:
            return path
        place = saved.relative_to(self.output).as_posix().replace("/", "_")
        stem = Path(place.removesuffix(".gz")).stem if saved.is_file() else place
        return path.with_name(f"{path.stem}_{stem}{path.suffix}")


@dataclass(frozen=True)
class _Item:
    """One series to segment: its file or folder, its name in there, and the image that the network gets.

    ``error`` says why it cannot be segmented, where that is known before the work starts.
    """

    source: Path
    series: str | None
    image: Path
    error: str = ""

    @property
    def suffix(self) -> str:
        return SUFFIX if self.series is None else f"{self.series}_{SUFFIX}"


def segment(
    input: str | Path,
    output: str | Path,
    *,
    series: str | None = None,
    output_format: OutputFormat = "same",
    csv: str | Path | None = None,
    report: str | Path | None = None,
    denoise: bool = False,
    architecture: str | None = None,
    bundle: str | Path | None = None,
    device: str = "auto",
    on_failure: Callable[[FailedSeries], None] | None = None,
    progress: bool = True,
) -> list[SegmentedSeries]:
    """Segment a file, or every series of a folder, with a segmentation bundle.

    Where there are several series, one that fails does not stop the others, and the table holds all that could be done.

    Masks lie on the input's grid. A folder of DICOM files becomes a folder of DICOM segmentation objects, one per
    frame; where it holds several series, one folder for each that can be segmented. Other files become a mask of their
    own format.

    Args:
        input: a file or a folder.
        output: a folder, or for one series also the name of the result (``.nii`` or ``.nii.gz``).
        series: the DICOM series to take, by a name that :func:`monai_stcnnt.apps.describe` lists.
        output_format: ``"same"`` as the input, ``"nifti"``, or ``"dicom_seg"``, which refuses other input.
        csv: table of volumes in every frame, stroke volumes and ejection fractions of all scans; beside it comes a plot
            over time for each scan, named like the table with ``_plot.png`` at its end.
        report: picture of the masks on the images; with several series, one picture each with the series' name added.
        denoise: segment what the denoising bundle makes of the input; masks are written as if it had not been there.
        architecture: one of the bundle's networks, ``"stcnnt"`` or ``"hrnetv2"``; the bundle's own choice by default.
        bundle: folder of the bundle; the one that this package carries by default.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ...
        on_failure: called for every one of several series that fails; without it, they are an error at the end.
        progress: show a bar.

    Returns:
        The masks that were written, and what they measure.

    Raises:
        FailedSeriesError: after all the work, where some of several series failed and ``on_failure`` is not given.
        StcnntError: one of its classes per cause: a missing or unreadable file, an image without voxels, with NaN or
            without contrast, weights that do not fit, an output that cannot be written.
    """
    table = None if csv is None else check_table_path(csv)
    picture = None if report is None else check_report_name(report, (".png",))
    source, out = check_exists(input), Path(output).expanduser()
    folder = bundle_folder("cine_segmentation", bundle)
    items = _items(source, series)
    target = _Target(source, out, output_format, picture, len(items))
    _check_target(target, items)
    overrides: dict[str, Any] = {"progress": progress, "output_format": "nifti"}
    if device != "auto":
        overrides["device"] = torch.device(device)
    if architecture is not None:
        overrides["architecture"] = architecture
    done, failed = _segment_all(folder, items, target, overrides, device if denoise else None)
    if table is not None and done:
        write_table([one.measures for one in done], table)
        for one in done:
            volume_plot(one.measures, target.picture(table.with_name(f"{table.stem}_plot.png"), one.saved))
    if on_failure is not None:
        for failure in failed:
            on_failure(failure)
    elif failed:
        said = "; ".join(f"{_scan_name(failure, source)}: {failure.error}" for failure in failed)
        raise FailedSeriesError(f"{len(failed)} of {len(items)} series failed: {said}")
    return done


def _segment_all(
    folder: Path, items: Sequence[_Item], target: _Target, overrides: Mapping[str, Any], denoise_on: str | None
) -> tuple[list[SegmentedSeries], list[FailedSeries]]:
    """Segment series by series; the error of an only one is raised, and so is a lack of room."""
    done: list[SegmentedSeries] = []
    failed: list[FailedSeries] = []
    with tempfile.TemporaryDirectory(prefix="stcnnt_") as aside:
        for number, item in enumerate(items):
            if item.error:
                failed.append(FailedSeries(item.source, item.series, item.error))
                continue
            try:
                done.append(_segment_one(folder, item, target, overrides, denoise_on, Path(aside, str(number))))
            except Exception as error:
                if len(items) == 1 or is_lack_of_room(error):
                    raise
                logger.debug("%s", item.source, exc_info=True)
                failed.append(FailedSeries(item.source, item.series, error_text(error, target.root)))
    return done, failed


def _segment_one(
    folder: Path, item: _Item, target: _Target, overrides: Mapping[str, Any], denoise_on: str | None, place: Path
) -> SegmentedSeries:
    if denoise_on is not None:
        item = _denoised(item, place, denoise_on, bool(overrides["progress"]))
    masks, names = _masks(folder, item, {**overrides, "output_dir": str(place)})
    return _finish(item, masks, names, target)


def _items(source: Path, series: str | None) -> list[_Item]:
    """List the series below a path; those of a DICOM folder that cannot be segmented are passed over, and said."""
    if series is not None:
        return [_Item(source, series, source)]
    items = []
    entries = series_datalist(source)
    for entry in entries:
        path = Path(entry["image"])
        try:
            found = list_images(path, check=False)
        except StcnntError as error:
            if len(entries) == 1:
                raise
            items.append(_Item(path, None, path, error_text(error, source)))
            continue
        usable = [summary for summary in found if not summary.refused]
        if len(found) < 2 or not usable:
            items.append(_Item(path, None, path))
            continue
        for summary in found:
            if summary.refused:
                logger.warning("%s, series %s is passed over: %s", summary.path, summary.series, summary.refused)
        items += [_Item(path, summary.series, path) for summary in usable]
    return items


def _check_target(target: _Target, items: Sequence[_Item]) -> None:
    """Refuse what cannot be written, before the work starts."""
    if is_nifti_path(target.output):
        if len(items) > 1:
            raise OutputNotWritableError(
                f"{target.root} holds {len(items)} series, but {target.output} is one file. Give a folder."
            )
        if target.output_format == "dicom_seg":
            raise OutputNotWritableError(f"{target.output} is NIfTI, not DICOM. Give a folder for the segmentations.")
        check_output_folder(target.output.parent)
        return
    check_output_folder(target.output)
    for item in items:
        if item.error:
            continue
        row = image_format(item.source)
        if target.output_format == "dicom_seg" and not row.holds_references:
            raise OutputNotWritableError(
                f"{item.source} is not DICOM, so that a DICOM segmentation has nothing to refer to. Write NIfTI."
            )
        if result_extension(item.source, row.name, "magnitude", target.output_format):
            continue
        folder = output_path(item.source, target.root, target.output, item.suffix, "")
        if folder.exists():
            raise OutputNotWritableError(f"{folder} exists already. Choose another folder, or remove it.")
        if not optional_import("highdicom")[1]:
            raise OutputNotWritableError(
                f"{folder}: DICOM segmentations are written by highdicom. "
                'Install it, pip install "monai-stcnnt[dicom]", or write NIfTI.'
            )


def _denoised(item: _Item, place: Path, device: str, progress: bool) -> _Item:
    """Denoise a series to a NIfTI file for the network."""
    [image] = denoise_files(item.source, place / "denoised.nii", series=item.series, device=device, progress=progress)
    return replace(item, image=image)


def _masks(folder: Path, item: _Item, overrides: Mapping[str, Any]) -> tuple[SeriesRecord, dict[int, str]]:
    """Run the bundle on one series: the masks on its grid, and the names of their values."""
    found: list[SeriesRecord] = []

    def keep(engine: Engine) -> None:
        state: Any = engine.state
        found.append(record_from_metatensor(state.output[0]["pred"]))

    is_denoised = item.image != item.source
    options = {
        "dataset_dir": str(item.image),
        "dataset#data": [{"image": str(item.image)}],
        "series": None if is_denoised else item.series,
        "suffix": SUFFIX,
    }
    with plain_errors(), expected_remarks():
        workflow = open_inference(folder, **overrides, **options)
        names = _class_names(workflow.parser, folder)
        workflow.evaluator.add_event_handler(Events.ITERATION_COMPLETED, keep)
        workflow.run()
        workflow.finalize()
    [masks] = found
    return masks, names


def _class_names(parser: ConfigParser, folder: Path) -> dict[int, str]:
    """Names by value of a bundle's masks: its config's, else those of the channels in its metadata."""
    described = parser.get("_meta_", {}).get("network_data_format", {}).get("outputs", {}).get("pred", {})
    names = parser.get("class_names") or described.get("channel_def")
    if not isinstance(names, Mapping) or not names:
        raise LabelValueError(f"{folder} does not name its classes. Give it an entry class_names: value -> name.")
    return {int(value): str(name) for value, name in names.items() if int(value) != 0}


def _finish(item: _Item, masks: SeriesRecord, names: Mapping[int, str], target: _Target) -> SegmentedSeries:
    """Write the masks of one series with the metadata of its images, and measure and draw them."""
    images = read_series(item.source, series=item.series)
    if masks.array.shape != (1, *images.array.shape[1:]):
        raise LayoutError(
            f"{item.source}: the bundle made masks of the shape {masks.array.shape}, but the images ask for "
            f"(1, T, Z, Y, X) = {(1, *images.array.shape[1:])}. Its postprocessing has to invert its preprocessing."
        )
    labels = replace(images, array=masks.array, metadata={**images.metadata, "kind": "magnitude", "complex_axis": -1})
    saved = _write(item, labels, names, target)
    name = _scan_name(item, target.root)
    measures = measure_masks(labels, names, name)
    if target.report is not None:
        shown = images if item.image == item.source else read_series(item.image)
        title = name if item.image == item.source else f"{name}, denoised"
        path = target.picture(target.report, saved)
        segmentation_report(shown, labels, measures, path, class_values=sorted(names), title=title)
    return SegmentedSeries(item.source, item.series, saved, measures)


def _write(item: _Item, labels: SeriesRecord, names: Mapping[int, str], target: _Target) -> Path:
    if is_nifti_path(target.output):
        return write_labels(labels, target.output, class_names=names)
    saver = target.savers.setdefault(
        item.suffix,
        SaveSeries(
            target.output, target.root, item.suffix, output_format=target.output_format, class_names=dict(names),
            algorithm_version=__version__,
        ),
    )  # fmt: skip
    values = torch.as_tensor(np.ascontiguousarray(labels.to_spatial()[None]))
    image = MetaTensor(values, meta=monai_metadata(labels, values.shape[1:]))
    return Path(str(saver(image).meta["saved_to"]))


def _scan_name(item: _Item | FailedSeries, root: Path) -> str:
    """The path below the input, so that scans of the same name in several folders stay apart."""
    name = item.source.resolve().name if item.source == root else item.source.relative_to(root).as_posix()
    return name if item.series is None else f"{name}, series {item.series}"
