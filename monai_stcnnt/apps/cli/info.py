# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The command ``stcnnt info``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from monai_stcnnt.apps.cli.common import (
    WRONG_INPUT,
    JsonOption,
    QuietOption,
    VerboseOption,
    examples,
    say,
    set_up_logging,
)

__all__ = ["INFO_EXAMPLES", "info"]

INFO_EXAMPLES = examples("info dicom_folder", "info scan.nii.gz --json")


def info(
    path: Annotated[Path, typer.Argument(help="File or folder of MR images.")],
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Tell what a file or folder holds, and what would be done with it. Nothing about the patient is shown.

    The exit code is 2 where nothing can be denoised.
    """
    from monai_stcnnt.apps.info import as_json, as_text, describe

    set_up_logging(quiet=quiet or not verbose, verbose=verbose)
    found = describe(path, progress=not quiet)
    say(as_json(found) if json else as_text(found))
    if all(summary.refused for summary in found):
        raise typer.Exit(WRONG_INPUT)
