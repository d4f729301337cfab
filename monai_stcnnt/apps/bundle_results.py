# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Results of bundles that MONAI runs: the same rule about what exists, and the same manifest, as ``stcnnt`` has."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from monai_stcnnt.apps.batch.existing import check_beside, check_place, earlier_holds, state_of
from monai_stcnnt.apps.batch.manifest import (
    Journal,
    Recipe,
    SeriesRow,
    read_manifest,
    results_exist,
    sha256_of,
    stamp_of,
)
from monai_stcnnt.apps.batch.publish import Outcome, outputs_in, publish, settle, unfinished
from monai_stcnnt.apps.bundles import calling_workflow
from monai_stcnnt.data import SaveSeries, check_output_folder
from monai_stcnnt.data.formats.registry import files_of, image_format
from monai_stcnnt.data.provenance import Provenance
from monai_stcnnt.errors import StcnntError

__all__ = ["BundleResults"]

logger = logging.getLogger(__name__)

_NO_EFFECT = frozenset({
    "imports", "dataset_dir", "input_file", "inputs", "input_root", "output_dir", "output_file", "datalist", "results",
    "redo", "progress", "device", "sw_batch_size", "memory", "bundle_root", "provenance", "handlers", "evaluator",
    "streamed", "initialize", "run", "dataset", "dataloader", "gmap", "_meta_",
})  # fmt: skip
"""Entries of a config on which the values of a result do not depend, or which the checksum of the input covers."""


class BundleResults:
    """Keeps the results of a bundle's run: what is done is skipped, what is in the way is refused before the work.

    Args:
        output_dir: folder of the results.
        input_root: file or folder of the images.
        provenance: how results come about.
        output_file: see :class:`~monai_stcnnt.data.SaveSeries`.
        series: which series of DICOM folders is taken.
        redo: make results again that exist, and replace files that are in the way.
    """

    def __init__(
        self,
        output_dir: str | Path,
        input_root: str | Path,
        provenance: Provenance,
        output_file: str | Path | None = None,
        series: str | None = None,
        redo: bool = False,
    ) -> None:
        self.folder = Path(output_dir if output_file is None else Path(output_file).parent).expanduser()
        self.root, self.series, self.redo = Path(input_root).expanduser(), series, redo
        config = _config_checksum(calling_workflow())
        options = {**provenance.options, **({"config": config} if config else {})}
        self.recipe = Recipe(provenance.version, provenance.bundle_sha256, options)
        self._maps: dict[str, str | None] = {}  # g-factor map by the source

    def pending(self, items: Sequence[Mapping[str, Any]], saver: SaveSeries) -> list[dict[str, Any]]:
        """Leave out items whose results exist.

        Args:
            items: ``{"image": path}``, perhaps with a ``gmap``.
            saver: what will save the results.

        Returns:
            The others.

        Raises:
            ResultExistsError: if something is in the way of a result.
            OutputNotWritableError: if a result would replace its image, or two results have one name.
        """
        check_output_folder(self.folder)
        before = read_manifest(self.folder)
        left = []
        for item in items:
            image, gmap = str(item["image"]), item.get("gmap")
            path = saver.place_of(image, *self._kind_of(image))
            row = self._row(path, image, gmap)
            earlier = before.get(row.target)
            if earlier is not None and earlier.recipe == row.recipe and results_exist(earlier, self.folder):
                is_same = earlier.input_stamp == row.input_stamp
                row = replace(row, input_sha256=earlier.input_sha256 if is_same else _content_of(image, gmap))
                if earlier_holds(row, earlier, self.folder, redo=self.redo):
                    logger.info("%s is skipped: %s was made of it by the same recipe.", image, path)
                    continue
            check_place(row, earlier, self.folder, redo=self.redo)
            self._maps[image] = gmap
            left.append(dict(item))
        return left

    @contextmanager
    def keep(self, path: Path, source: str) -> Iterator[Path]:
        """Give a hidden name to write a result to; at the end it is recorded and gets its own.

        Args:
            path: the file or folder to be.
            source: the image.

        Yields:
            The hidden path.

        Raises:
            ResultExistsError: if something is in the way.
            StcnntError: the errors of writing, about ``path``.
        """
        start, gmap = time.perf_counter(), self._maps.get(source)
        row = replace(self._row(path, source, gmap), input_sha256=_content_of(source, gmap))
        earlier = read_manifest(self.folder).get(row.target)
        check_place(row, earlier, self.folder, redo=self.redo)
        seen = state_of(path)
        with unfinished(self.folder) as place, Journal(self.folder) as journal:
            made = place / uuid.uuid4().hex
            made.mkdir()
            try:
                yield made / path.name
            except StcnntError as error:
                raise type(error)(str(error).replace(str(made), str(path.parent))) from error
            outputs = outputs_in(made, Path(row.target))
            if state_of(path) == seen:
                beside = [Path(one.path) for one in outputs if one.path != row.target]
                check_beside(beside, earlier, self.folder, redo=self.redo)
            seconds, now = round(time.perf_counter() - start, 3), datetime.now(UTC).isoformat(timespec="milliseconds")
            row = replace(row, status="writing", outputs=outputs, seconds=seconds, finished=now)
            outcome = settle(Outcome(row, made, seen=seen), self.folder)
            if outcome.error is not None:
                raise outcome.error
            publish(outcome, self.folder, journal, is_only=False)

    def _row(self, path: Path, source: str, gmap: str | None) -> SeriesRow:
        """The record of a result to be made."""
        image = Path(source)
        name = (
            os.path.relpath(image, self.root) if image.is_relative_to(self.root) and image != self.root else image.name
        )
        target = Path(os.path.relpath(path, self.folder)).as_posix()
        stamp = stamp_of(_files_of(source, gmap))
        return SeriesRow(target, name, self.series or "", input_stamp=stamp, recipe=self.recipe)

    def _kind_of(self, image: str) -> tuple[str | None, str]:
        """Format and kind of an image, which its result's name depends on."""
        row = image_format(image)
        if not row.holds_several:
            return None, "magnitude"
        listed = row.list(Path(image), check=False, stacks=True)
        chosen = [one for one in listed if self.series in (None, one.series) and not one.refused]
        if not chosen:
            return row.name, "complex" if "+" in (self.series or "") else "magnitude"
        return chosen[0].file_format, chosen[0].kind


def _files_of(source: str, gmap: str | None) -> list[Path]:
    """Every file that a result depends on."""
    return [*files_of(source), *([] if gmap is None else files_of(gmap))]


def _content_of(source: str, gmap: str | None) -> str:
    """Checksum of an image and its map, as the batch makes it."""
    return hashlib.sha256("\n".join(map(sha256_of, _files_of(source, gmap))).encode()).hexdigest()


def _config_checksum(workflow: ConfigWorkflow | None) -> str:
    """Checksum of the entries of a config that a result depends on, and of files that they name."""
    if workflow is None:
        return ""
    entries = {name: value for name, value in workflow.parser.get().items() if name not in _NO_EFFECT}
    named = {name: sha256_of(Path(value)) for name, value in entries.items()
             if isinstance(value, str | Path) and os.path.isfile(value)}  # fmt: skip
    return hashlib.sha256(json.dumps([entries, named], sort_keys=True, default=str).encode()).hexdigest()[:16]
