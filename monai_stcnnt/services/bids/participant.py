# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Denoise the images of participants into BIDS derivatives; what is done already is not done again."""

from __future__ import annotations

import functools
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import uniform_filter

from monai_stcnnt import __version__
from monai_stcnnt.apps.batch.manifest import error_text
from monai_stcnnt.apps.review.figures import compare, measure
from monai_stcnnt.apps.review.views import residual_signal
from monai_stcnnt.data import SeriesRecord, check_output_folder, read_series, write_series
from monai_stcnnt.data.paths import write_aside
from monai_stcnnt.errors import NotAnImageError, StcnntError
from monai_stcnnt.services.bids.items import BidsItem, with_parts
from monai_stcnnt.services.engine import DenoiserOptions, RecordDenoiser

__all__ = ["denoise_participants", "write_description", "write_text"]

logger = logging.getLogger(__name__)

Row = dict[str, Any]

_VERSION = "1.9.0"  # of BIDS
# What BIDS has no names for: our tables, maps of diffusion series, and cines.
_IGNORED = ["group_*", "logs/", "*_desc-noise_dwi.*", "*_desc-uncertainty_dwi.*", "*_cine.*"]
_FOUR_AXES = ("bold", "cbv", "asl")  # suffixes whose files have a time axis, whatever they hold
_LOGS = "logs"
_MAPS = {
    "noise": "Standard deviation of what denoising removed, in the units of the image",
    "uncertainty": "Standard error of the denoised image, in its units; of complex images that of each component",
}


def denoise_participants(
    items: Sequence[BidsItem], root: str | Path, output: str | Path, options: DenoiserOptions, executor: Executor
) -> list[Row]:
    """Denoise images, each into files of its own; one that fails does not stop the others.

    Args:
        items: the images.
        root: folder of the dataset.
        output: folder of the derivatives.
        options: how to denoise.
        executor: does the work.

    Returns:
        A row for each image, with ``status`` done, unchanged or failed, and its figures.

    Raises:
        OutputNotWritableError: if the folder cannot be written to.
    """
    folder, target = Path(root).expanduser(), check_output_folder(output)
    write_description(target, folder)
    waiting = [executor.submit(denoise_item, item, str(folder), str(target), options) for item in items]
    rows: list[Row] = []
    for item, future in zip(items, waiting, strict=True):
        row = future.result()
        logger.info("%s: %s%s", item.path, row["status"], f" ({row['error']})" if row.get("error") else "")
        rows.append(row)
    for subject in sorted({item.subject for item in items}):
        mine = [row for row in rows if row["participant_id"] == f"sub-{subject}"]
        write_text(target / _LOGS / f"sub-{subject}.json", json.dumps(mine, indent=2, allow_nan=False))
    return rows


def write_description(output: Path, root: Path) -> None:
    """Write what a folder of derivatives says about itself."""
    try:
        name = json.loads((root / "dataset_description.json").read_text(encoding="utf-8")).get("Name", root.name)
    except (OSError, ValueError, AttributeError):
        name = root.name
    description = {
        "Name": f"{name}: denoised", "BIDSVersion": _VERSION, "DatasetType": "derivative", "License": "see the source",
        "GeneratedBy": [{"Name": "monai_stcnnt", "Version": __version__, "Description": "stcnnt-bids"}],
        "SourceDatasets": [{"URL": root.resolve().as_uri()}], "DatasetLinks": {"raw": root.resolve().as_uri()},
    }  # fmt: skip
    write_text(output / "dataset_description.json", json.dumps(description, indent=2))
    write_text(output / ".bidsignore", "\n".join([*_IGNORED, ""]))
    if not (output / "README").exists():
        write_text(output / "README", _README)


_README = """Images denoised by monai_stcnnt (stcnnt-bids), beside the dataset that they came from.

desc-denoised: the image without the noise that was found in it. Research use only.
desc-noise: standard deviation of what was removed, voxel by voxel.
desc-uncertainty: standard error of the denoised image, voxel by voxel, where that was asked for.
Each sidecar says which files an image came from (Sources) and which noise level was found (NoiseSigma).
"""


@functools.lru_cache(maxsize=1)
def _denoiser(options: DenoiserOptions) -> RecordDenoiser:
    return RecordDenoiser(options)


def denoise_item(item: BidsItem, root: str, output: str, options: DenoiserOptions) -> Row:
    """Denoise one image, unless its derivative is there and was made of the same files in the same way.

    Args:
        item: the image.
        root: folder of the dataset.
        output: folder of the derivatives.
        options: how to denoise.

    Returns:
        A row for the group's table.
    """
    row: Row = {"participant_id": f"sub-{item.subject}", "file": item.path, "suffix": item.suffix}
    folder, target = Path(root), Path(output)
    try:
        recipe = {"inputs": item.checksum(folder), "version": __version__, **_plain(options)}
        before = _figures_before(target / item.output("denoised", ".json"), recipe)
        if before is not None and all((target / name).is_file() for name in _outputs(item, options)):
            return {**row, "status": "unchanged", **before}
        return {**row, "status": "done", **_make(item, folder, target, options, recipe)}
    except StcnntError as error:
        return {**row, "status": "failed", "error": error_text(error, folder)}
    except Exception as error:
        logger.debug("%s", item.path, exc_info=True)
        return {**row, "status": "failed", "error": type(error).__name__}


def _plain(options: DenoiserOptions) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()}


def _outputs(item: BidsItem, options: DenoiserOptions) -> Iterator[str]:
    """Images that are made of one, relative to the folder of derivatives."""
    for source in item.sources:
        yield item.output("denoised", path=source)
    yield item.output("noise")
    if options.save_uncertainty:
        yield item.output("uncertainty")


def _figures_before(sidecar: Path, recipe: Mapping[str, Any]) -> Row | None:
    try:
        found = json.loads(sidecar.read_text(encoding="utf-8"))
        return dict(found["QualityControl"]) if found["Recipe"] == dict(recipe) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _make(item: BidsItem, root: Path, target: Path, options: DenoiserOptions, recipe: Mapping[str, Any]) -> Row:
    """Write the derivatives of an image; the sidecar that says how they were made comes last."""
    if "_part-phase_" in item.path:
        raise NotAnImageError(f"{item.path} is a phase without its magnitude. Add the file part-mag.")
    before = item.read(root)
    after, errors, sigma = _denoiser(options).with_errors(before)
    figures = {one.name: one.value for one in measure(compare(before, after, sigma))}
    figures = json.loads(json.dumps({"noise_sigma": sigma, **figures}, default=float), parse_constant=lambda _: None)
    parts = with_parts(after, read_series(root / item.phase)) if item.phase else [after]
    for source, part in zip(item.sources, parts, strict=True):
        write_series(part, target / item.output("denoised", path=source))
    axes = 4 if item.suffix in _FOUR_AXES else 3
    write_series(_removed(before, after, axes), target / item.output("noise"))
    if errors is not None:
        write_series(errors, target / item.output("uncertainty"))
    for name in item.beside:  # without desc-, so that it holds for all images of that name, by BIDS' inheritance
        _copy(root / name, target / name)
    sources = [f"bids:raw:{name}" for name in item.sources]
    made = {**item.metadata, "Sources": sources, "SkullStripped": False, "NoiseSigma": sigma}
    made |= {"Description": "Denoised image"}
    for name in ("noise", "uncertainty")[: 1 if errors is None else 2]:
        said = {"Sources": sources, "SkullStripped": False, "Description": _MAPS[name]}
        if "RepetitionTime" in item.metadata and item.suffix == "bold":
            said |= {key: item.metadata[key] for key in ("RepetitionTime", "TaskName") if key in item.metadata}
        write_text(target / item.output(name, ".json"), json.dumps(said, indent=2))
    for source in reversed(item.sources):
        said = {**made, "Recipe": dict(recipe), "QualityControl": figures} if source == item.path else made
        write_text(target / item.output("denoised", ".json", source), json.dumps(said, indent=2, default=str))
    return figures


def _removed(before: SeriesRecord, after: SeriesRecord, axes: int) -> SeriesRecord:
    """Standard deviation of the residual: over frames, or over the neighborhood in a single frame."""
    residual = residual_signal(before, after).astype(np.float64)
    if len(residual) > 1:
        spread = residual.std(axis=0)
    else:
        mean = uniform_filter(residual[0], (1, 5, 5), mode="nearest")
        spread = np.sqrt(np.maximum(uniform_filter(residual[0] ** 2, (1, 5, 5), mode="nearest") - mean**2, 0))
    metadata = {**after.metadata, "kind": "magnitude", "file_ndim": axes}
    return SeriesRecord(spread[None, None], after.affine, np.zeros(1), metadata)


def _copy(source: Path, target: Path) -> None:
    with write_aside(target) as aside:
        shutil.copyfile(source, aside)


def write_text(path: Path, text: str) -> None:
    """Write a text file; it is complete or absent."""
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")
