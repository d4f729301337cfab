# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The command ``stcnnt convert``."""

from __future__ import annotations

import json as json_text
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from monai_stcnnt.apps.cli.common import (
    JsonOption,
    QuietOption,
    RedoOption,
    VerboseOption,
    examples,
    say,
    set_up_logging,
)

__all__ = ["CONVERT_EXAMPLES", "Kind", "convert"]

CONVERT_EXAMPLES = examples(
    "convert snraware.pth my_bundle --kind snraware --config model.yaml --bundle",
    "convert hrnetv2.pth weights.pt --kind hrnet --out-channels 4 --in-channels 1",
    "convert model.pt merged --kind network --config model.json --merge adapters.pt --export onnx",
)


class Kind(StrEnum):
    """Published checkpoints that can be converted."""

    snraware = "snraware"
    hrnet = "hrnet"
    network = "network"


class Form(StrEnum):
    """Files that a network can be exported to."""

    pt2 = "pt2"
    onnx = "onnx"
    ts = "ts"


def convert(
    weights: Annotated[Path, typer.Argument(help="Published checkpoint.")],
    output: Annotated[Path, typer.Argument(help="Name of the weights (.pt) or a folder; with --bundle a new folder.")],
    kind: Annotated[
        Kind, typer.Option(help="What the weights are of: an SNRAware denoiser, an HRNetV2, or this package.")
    ],
    config: Annotated[
        Path | None, typer.Option(help="snraware: its published .yaml; network: the MONAI config that builds it.")
    ] = None,
    trust: Annotated[bool, typer.Option("--trust", help="snraware: allow TorchScript, which holds code.")] = False,
    bundle: Annotated[bool, typer.Option("--bundle", help="snraware: make a bundle for complex images.")] = False,
    out_channels: Annotated[int | None, typer.Option(help="hrnet: number of classes, if not its own.")] = None,
    in_channels: Annotated[
        int | None, typer.Option(help="Channels of the image; snraware: 2 leaves out the map.")
    ] = None,
    spatial_dims: Annotated[int | None, typer.Option(help="hrnet: 2 or 3, if not its own.")] = None,
    net_id: Annotated[str | None, typer.Option(help="network: entry of the config, default network_def.")] = None,
    merge: Annotated[Path | None, typer.Option(help="Adapters to add to the weights.")] = None,
    export: Annotated[Form | None, typer.Option(help="Also write a file that runs without this package.")] = None,
    redo: RedoOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Convert a published checkpoint to model.pt and the MONAI config that builds its network, or to a bundle."""
    from monai_stcnnt.apps.converting import convert as run

    set_up_logging(quiet=quiet, verbose=verbose)
    written = run(
        weights, output, kind=kind.value, config=config, trust=trust, bundle=bundle,
        out_channels=out_channels, in_channels=in_channels, spatial_dims=spatial_dims, net_id=net_id, merge=merge,
        export=None if export is None else export.value, redo=redo,
    )  # fmt: skip
    if json:
        say(json_text.dumps({"written": [str(path) for path in written]}, indent=2))
        return
    for path in written:
        say(str(path))
