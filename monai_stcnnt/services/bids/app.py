# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The command ``stcnnt-bids``, with the arguments of every BIDS app.

K. J. Gorgolewski et al., BIDS apps, PLoS Computational Biology 2017, https://doi.org/10.1371/journal.pcbi.1005209
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from monai_stcnnt import __version__
from monai_stcnnt.errors import StcnntError

__all__ = ["main", "run"]

_WRONG_INPUT, _SOME_FAILED = 2, 3


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stcnnt-bids",
        description="Denoise the images of a BIDS dataset into BIDS derivatives. Research use only.",
        epilog="Exit codes: 0 all done, 2 wrong input or options, 3 some images failed.",
    )
    parser.add_argument("bids_dir", type=Path, help="the dataset")
    parser.add_argument("output_dir", type=Path, help="folder of the derivatives")
    parser.add_argument("analysis_level", choices=["participant", "group"], help="denoise, or make the table of all")
    parser.add_argument(
        "--participant-label",
        "--participant_label",
        nargs="+",
        default=[],
        metavar="LABEL",
        help="only these; all by default",
    )
    parser.add_argument("--noise-sigma", type=float, help="noise level per component; estimated by default")
    parser.add_argument(
        "--strength", type=float, default=1.0, help="factor on the noise level that the network is told"
    )
    parser.add_argument("--self-ensemble", action="store_true", help="average over mirror images; four times as long")
    parser.add_argument("--save-uncertainty", action="store_true", help="write the standard error of every result")
    parser.add_argument("--bundle", type=Path, help="folder of another denoising bundle")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--workers", type=int, default=1, help="images at once, each in a process of its own")
    parser.add_argument("--scheduler", help="address of a dask scheduler whose workers to use")
    parser.add_argument("--quiet", "-q", action="store_true", help="say only what failed")
    parser.add_argument("--version", "-v", action="version", version=f"stcnnt-bids {__version__}")
    return parser


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the app.

    Args:
        arguments: those of the command line by default.

    Returns:
        The exit code.

    Raises:
        StcnntError: if the dataset, the folder of derivatives or an option is wrong.
    """
    asked = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.CRITICAL, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("monai_stcnnt").setLevel(logging.ERROR if asked.quiet else logging.INFO)
    if asked.analysis_level == "group":
        from monai_stcnnt.services.bids.group import write_group

        for path in write_group(asked.output_dir):
            sys.stdout.write(f"{path}\n")
        return 0
    from monai_stcnnt.services.bids.items import list_items
    from monai_stcnnt.services.bids.participant import denoise_participants
    from monai_stcnnt.services.engine import DenoiserOptions
    from monai_stcnnt.services.workers import open_executor

    options = DenoiserOptions(
        asked.strength, asked.self_ensemble, asked.noise_sigma, asked.bundle, asked.device, asked.save_uncertainty
    )
    items = list_items(asked.bids_dir, asked.participant_label)
    with open_executor(asked.workers, asked.scheduler) as executor:
        rows = denoise_participants(items, asked.bids_dir, asked.output_dir, options, executor)
    failed = [row for row in rows if row["status"] == "failed"]
    for row in failed:
        sys.stderr.write(f"failed: {row['file']}: {row['error']}\n")
    return _SOME_FAILED if failed else 0


def main() -> None:
    """Run the app; what the user can act on is one message and exit code 2."""
    try:
        sys.exit(run())
    except StcnntError as error:
        sys.stderr.write(f"stcnnt-bids: {error}\n")
        sys.exit(_WRONG_INPUT)


if __name__ == "__main__":
    main()
