# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The work on one series of a DICOM node, in this process or in a worker's: all it needs and makes is in one folder."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import InvalidDicomError

from monai_stcnnt.apps import segment
from monai_stcnnt.apps.batch.manifest import error_text
from monai_stcnnt.apps.denoising import DenoiseOptions, run_denoising
from monai_stcnnt.data.paths import sync_files
from monai_stcnnt.errors import FailedSeriesError, StcnntError, UnreadableFileError
from monai_stcnnt.services.dicom.rules import Rule, choose_rule
from monai_stcnnt.services.dicom.spool import IMAGES, RESULTS

__all__ = ["reason_of", "work_on"]

logger = logging.getLogger(__name__)


def work_on(folder: str, rules: Sequence[Rule]) -> bool:
    """Denoise or segment a series as the rules say.

    The results get UIDs that are a function of the images and of how they were made, so that results that are made, or
    sent, again are the same ones.

    Args:
        folder: of the series in the queue; its results are complete in ``out``, or absent.
        rules: what to do with which series.

    Returns:
        Whether there are results; not where no rule fits, or one says to ignore the series.

    Raises:
        StcnntError: if the series cannot be worked on.
    """
    place = Path(folder)
    if (place / RESULTS).exists():
        return True
    rule = choose_rule(rules, _header(place / IMAGES))
    if rule is None or rule.action == "ignore":
        return False
    made = place / "making"
    options: dict[str, Any] = {**rule.options, "progress": False}
    try:
        if rule.action == "denoise":
            done = run_denoising(DenoiseOptions(input=place / IMAGES, output=made, **options))
            if not done.saved:
                raise FailedSeriesError(_without_names(done.summary, place))
        else:
            segment(place / IMAGES, made, **options)
        _collect(made, place / RESULTS)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return True


def _header(folder: Path) -> pydicom.Dataset:
    """Header of the first image."""
    first = min(folder.iterdir(), default=None)
    if first is None:
        raise UnreadableFileError("The series has no image.")
    try:
        return pydicom.dcmread(first, stop_before_pixels=True)
    except (InvalidDicomError, OSError, ValueError) as error:
        raise UnreadableFileError(f"The series cannot be read ({type(error).__name__}).") from error


def _collect(made: Path, results: Path) -> None:
    """Move DICOM files out of the folders they were made in, and give all their place at once."""
    files = sorted(file for file in made.rglob("*.dcm") if file.is_file())
    if not files:
        raise FailedSeriesError("Nothing was made that can be sent as DICOM; a complex series is none.")
    aside = made.parent / "gathered"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    for number, file in enumerate(files):
        file.rename(aside / f"{number:06d}.dcm")
    sync_files(aside)
    aside.rename(results)


def _without_names(text: str, place: Path) -> str:
    return text.replace(str(place), "the series")


def reason_of(error: BaseException, place: Path) -> str:
    """Why a series failed, without values of files."""
    return _without_names(error_text(error, place), place) if isinstance(error, StcnntError) else type(error).__name__
