# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Segment one series or many with a segmentation bundle, and measure the masks."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.utils.module import optional_import

from monai_stcnnt import __version__
from monai_stcnnt.apps.batch.manifest import Recipe, SeriesRow
from monai_stcnnt.apps.batch.publish import UNFINISHED
from monai_stcnnt.apps.batch.run import RunResult, run_series
from monai_stcnnt.apps.batch.tasks import RunOptions, SeriesEngine, SeriesTask
from monai_stcnnt.apps.bundles import (
    bundle_checksum,
    bundle_folder,
    bundle_provenance,
    bundle_work,
    open_inference,
)
from monai_stcnnt.apps.denoising import DenoiseOptions
from monai_stcnnt.apps.heart_figures import HeartEvidence
from monai_stcnnt.apps.review.bulls_eye import bulls_eye_plot
from monai_stcnnt.apps.review.names import check_report_name, report_names
from monai_stcnnt.apps.review.segmentation import KINDS, segmentation_report
from monai_stcnnt.apps.review.volume_plot import volume_plot
from monai_stcnnt.apps.volumes import MaskMeasures, check_table_path, measure_masks, write_summary, write_table
from monai_stcnnt.data import SaveImageSeriesd, SeriesRecord, read_series, record_from_metatensor, write_labels
from monai_stcnnt.data.content import check_mr_content
from monai_stcnnt.data.formats.registry import format_for, image_format, result_extension
from monai_stcnnt.data.slabs import MemorySlabs
from monai_stcnnt.errors import LabelValueError, LayoutError, OptionError, OutputNotWritableError

__all__ = ["SegmentOptions", "SegmentedSeries", "Segmenter", "run_segmentation", "segment"]

logger = logging.getLogger(__name__)

BUNDLE = "cine_segmentation"


@dataclass(frozen=True, kw_only=True)
class SegmentOptions(RunOptions):
    """Options of segmentation, beside those of :class:`~monai_stcnnt.apps.batch.tasks.RunOptions`.

    Attributes:
        stack: take series of one slice each that make a stack as one series, since volumes take all slices.
        csv: table of volumes in every frame, stroke volumes and ejection fractions of all scans; beside it come one
            with a row for each scan (``_summary.csv``) and a plot over time for each scan (``_plot.png``).
        denoise: segment what the denoising bundle makes of the input, with ``gmap`` if it is given; masks are written
            as if it had not been there.
        architecture: a network for which the bundle has weights; the bundle's own choice by default.
    """

    suffix: ClassVar[str] = "seg"
    writes: ClassVar[tuple[str, ...]] = ("report", "csv")
    skips: ClassVar[frozenset[str]] = frozenset({"segmented"})
    masks: ClassVar[str] = "_gt"  # as in ACDC and M&Ms
    has_recipe: ClassVar[tuple[str, ...]] = ("output_format", "force", "denoise", "architecture")

    stack: bool = True
    csv: Path | None = None
    denoise: bool = False
    architecture: str | None = None

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            OptionError: if an option has a value that it cannot have.
            OutputNotWritableError: if the name of a report or table has another ending.
        """
        super().__post_init__()
        if self.gmap is not None and not self.denoise:
            raise OptionError("A g-factor map is for denoising. Denoise first (denoise), or leave the map out.")
        if self.output_format.startswith("dicom_seg") and self.is_file:
            raise OptionError(f"{self.output} is not a name for DICOM segmentations. Give a folder for them.")
        if self.report is not None:
            check_report_name(self.report, KINDS)
        if self.csv is not None:
            check_table_path(self.csv)
        if self.architecture is not None:
            _check_architecture(self.architecture, bundle_folder(BUNDLE, self.bundle))

    @property
    def denoising(self) -> DenoiseOptions:
        """How series are denoised first."""
        return DenoiseOptions(
            input=self.input,
            output=self.output,
            gmap=self.gmap,
            device=self.device,
            progress=self.progress,
            force=self.force,
        )

    @cached_property
    def recipe(self) -> Recipe:
        """What results depend on beside their input."""
        checksum = bundle_checksum(bundle_folder(BUNDLE, self.bundle))
        if self.denoise:
            checksum += self.denoising.recipe.bundle
        return Recipe(__version__, checksum, self.recipe_options())

    def open_engine(self) -> Segmenter:
        """Prepare the bundle's network and engine."""
        return Segmenter(self)


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


def segment(input: str | Path, output: str | Path, **options: Any) -> list[SegmentedSeries]:  # noqa: ANN401
    """Segment a file, or every series of a folder, with a segmentation bundle.

    Masks lie on the input's grid. A folder of DICOM files becomes a folder with a DICOM segmentation
    object; where it holds several series, one folder for each that can be segmented. Other files become a mask of their
    own format. What was done before with the same files, options and bundle is left as it is.

    Args:
        input: a file, or a folder that is searched with its sub folders.
        output: a folder, or for one series also the name of the result.
        options: see :class:`SegmentOptions`.

    Returns:
        The masks, and what they measure.

    Raises:
        FailedSeriesError: after all the work, where some of several series failed.
        OptionError: if an option has a value that it cannot have.
        StcnntError: one of its classes per cause: a missing or unreadable file, an image without voxels, with NaN or
            without contrast, weights that do not fit, an output that cannot be written.
    """
    return segmented(run_segmentation(SegmentOptions(input=Path(input), output=Path(output), **options)).check())


def segmented(result: RunResult) -> list[SegmentedSeries]:
    """The masks of a run, those of earlier runs included."""
    return [
        SegmentedSeries(
            result.sources[row.target], row.series or None, result.folder / row.target,
            MaskMeasures.from_dict(row.figures),
        )
        for row in result.done
    ]  # fmt: skip


def run_segmentation(options: SegmentOptions) -> RunResult:
    """Segment what is not done yet, and write the table; a series that fails is in the result, and no error.

    Args:
        options: what to do.

    Returns:
        What became of every series.

    Raises:
        StcnntError: for what concerns all series.
    """
    result = run_series(options)
    done = segmented(result)
    if options.csv is not None and done:
        write_table([one.measures for one in done], options.csv)
        write_summary([one.measures for one in done], options.csv.with_name(f"{options.csv.stem}_summary.csv"))
        plot = options.csv.with_name(f"{options.csv.stem}_plot.png")
        places = [result.folder / row.target for row in result.rows]
        names = dict(zip(places, report_names(places, plot), strict=True))
        for one in done:
            volume_plot(one.measures, names[one.saved])
            if one.measures.heart is not None and one.measures.heart.thickness:
                eye = names[one.saved].with_name(names[one.saved].name.replace("_plot", "_bulls_eye"))
                bulls_eye_plot(np.array(one.measures.heart.thickness), one.measures.scan, eye)
    return result


class Segmenter(SeriesEngine):
    """A bundle's network, which segments series after series.

    Args:
        options: how to segment.

    Raises:
        StcnntError: if the bundle or its weights do not fit.
    """

    def __init__(self, options: SegmentOptions) -> None:
        self.options = options
        folder = bundle_folder(BUNDLE, options.bundle)
        chosen: dict[str, Any] = {
            "architecture": options.architecture, "progress": options.progress, "force": options.force,
            "device": None if options.device == "auto" else torch.device(options.device),
        }  # fmt: skip
        overrides = {name: value for name, value in chosen.items() if value is not None}
        place = {"dataset#data": [], "output_dir": str(options.folder / UNFINISHED)}
        with bundle_work():
            workflow = open_inference(folder, **overrides, **place)
            self.reader = workflow.parser.get_parsed_content("reader")
            self.dataset = workflow.parser.get_parsed_content("dataset")
            steps = workflow.parser.get_parsed_content("postprocessing")
            steps.transforms = [step for step in steps.transforms if not isinstance(step, SaveImageSeriesd)]
            self.evaluator = workflow.parser.get_parsed_content("evaluator")
        self.evaluator.interrupt_resume_enabled = False  # after a failure, the next run is another series
        self.evaluator.logger.setLevel(logging.CRITICAL)  # what goes wrong is raised, and said once
        self.device = str(self.evaluator.state.device)
        self.provenance = bundle_provenance("segmented", folder, options.recipe.options, options.recipe.bundle)
        self.names = _class_names(workflow.parser, folder)
        self.learned = str(workflow.parser.get("_meta_", {}).get("data_source", ""))
        if self.learned:
            logger.info("The network learned from: %s", self.learned)
        self.denoiser = options.denoising.open_engine() if options.denoise else None

    def run(self, task: SeriesTask, target: Path, uid_seed: str = "") -> dict[str, Any]:
        """Segment one series; see :meth:`SeriesEngine.run`."""
        self._check_target(task)
        images = shown = read_series(task.path, series=task.series or None)
        check_mr_content(MemorySlabs(images), force=self.options.force)
        image = task.path
        if self.denoiser is not None:
            image = target.with_name(".denoised.nii")
            self.denoiser.run(replace(task, report=None), image)
            shown = read_series(image)
        masks, evidence = self._masks(image, task.series if image == task.path else "")
        if masks.array.shape != (1, *images.array.shape[1:]):
            raise LayoutError(
                f"{task.path}: the bundle made masks of the shape {masks.array.shape}, but the images ask for "
                f"(1, T, Z, Y, X) = {(1, *images.array.shape[1:])}. Its postprocessing has to invert its preprocessing."
            )
        metadata = {**images.metadata, "kind": "magnitude", "complex_axis": -1}
        labels = replace(images, array=masks.array, metadata=metadata)
        write_labels(
            labels, target, class_names=self.names, algorithm_version=__version__, uid_seed=uid_seed or None,
            provenance=self.provenance, seg_per_frame=self.options.output_format == "dicom_seg_per_frame",
        )  # fmt: skip
        measures = measure_masks(labels, self.names, task.name, evidence)
        if task.report is not None:
            self._draw(task, task.report, shown, labels, measures)
        return measures.as_dict()

    def report(self, task: SeriesTask, saved: Path, row: SeriesRow) -> None:
        """Draw masks that were made before."""
        assert task.report is not None
        labels = read_series(saved, check=False)
        images = read_series(task.path, series=task.series or None)
        self._draw(task, task.report, images, labels, MaskMeasures.from_dict(row.figures))

    def _draw(
        self, task: SeriesTask, report: Path, shown: SeriesRecord, labels: SeriesRecord, measures: MaskMeasures
    ) -> None:
        title = f"{task.name}, denoised" if self.options.denoise else task.name
        segmentation_report(
            shown, labels, measures, report, class_values=sorted(self.names), title=title, learned=self.learned
        )

    def _check_target(self, task: SeriesTask) -> None:
        """Refuse what cannot be written, before the work."""
        refers = image_format(task.path).holds_references
        if refers and result_extension(task.path, None, "magnitude", self.options.output_format):
            return
        if self.options.output_format.startswith("dicom_seg") and not refers:
            raise OutputNotWritableError(
                f"{task.path} is not DICOM, so that a DICOM segmentation has nothing to refer to. Write NIfTI."
            )
        if refers and not format_for(task.target).extensions and not optional_import("highdicom")[1]:
            raise OutputNotWritableError(
                f"{task.target}: DICOM segmentations are written by highdicom. "
                'Install it, pip install "monai-stcnnt[dicom]", or write NIfTI.'
            )

    def _masks(self, image: Path, series: str) -> tuple[SeriesRecord, HeartEvidence]:
        """Run the bundle on one series: the masks on its grid, and what the network knew beside them."""
        self.reader.series = series or None
        self.dataset.data = [{"image": str(image)}]
        self.evaluator.state.epoch_length = 1
        with bundle_work():
            self.evaluator.run()
        output: Any = self.evaluator.state.output
        item = output[0] if isinstance(output, list) else output
        masks, evidence = record_from_metatensor(item["pred"]), HeartEvidence(**item.get("evidence", {}))
        self.evaluator.state.batch = self.evaluator.state.output = None
        return masks, evidence


def _check_architecture(name: str, folder: Path) -> None:
    """Refuse a network for which a bundle has no weights.

    Raises:
        OptionError: if it has none; the message lists those it has.
    """
    config = json.loads((folder / "configs" / "inference.json").read_text(encoding="utf-8"))
    others = [file.stem.removeprefix("model_") for file in sorted(folder.glob("models/model_*.pt"))]
    known = [str(one) for one in (config.get("architecture"), *others) if one]
    if name not in known:
        raise OptionError(f"The bundle has no weights of {name!r}. It has {', '.join(known) or 'one network only'}.")


def _class_names(parser: ConfigParser, folder: Path) -> dict[int, str]:
    """Names by value of a bundle's masks: its config's, else those of the channels in its metadata."""
    described = parser.get("_meta_", {}).get("network_data_format", {}).get("outputs", {}).get("pred", {})
    names = parser.get("class_names") or described.get("channel_def")
    if not isinstance(names, Mapping) or not names:
        raise LabelValueError(f"{folder} does not name its classes. Give it an entry class_names: value -> name.")
    return {int(value): str(name) for value, name in names.items() if int(value) != 0}
