# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The commands ``stcnnt serve ...``; what they need is imported when they run."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

__all__ = ["serve"]

serve = typer.Typer(
    name="serve",
    help="Serve a scanner or an archive: an MRD server, a DICOM node. Research use only.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@serve.callback()
def _services() -> None:
    """Options of all services: none."""


AddressOption = Annotated[
    str,
    typer.Option(
        help="Address to listen on: by default this machine alone. Another can be reached by all on its network."
    ),
]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Say more, and where an error came from.")]
StrengthOption = Annotated[float, typer.Option(help="Factor on the noise level that the network is told.")]
SigmaOption = Annotated[float | None, typer.Option(help="Noise level per component; estimated where it is not given.")]
BundleOption = Annotated[Path | None, typer.Option(help="Folder of another denoising bundle.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]


@serve.command()
def mrd(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 9002,
    address: AddressOption = "127.0.0.1",
    mode: Annotated[str, typer.Option(help="series: at the end of the stream; realtime: frame by frame.")] = "series",
    context: Annotated[int, typer.Option(help="Frames that a frame is denoised with in realtime.")] = 8,
    strength: StrengthOption = 1.0,
    self_ensemble: Annotated[
        bool, typer.Option("--self-ensemble", help="Average over mirror images; four times as long.")
    ] = False,
    noise_sigma: SigmaOption = None,
    bundle: BundleOption = None,
    device: DeviceOption = "auto",
    connections: Annotated[int, typer.Option(help="Connections at once; more are refused.")] = 4,
    memory: Annotated[int, typer.Option(help="Megabytes of images that may wait in a connection.")] = 4096,
    timeout: Annotated[float, typer.Option(help="Seconds of silence after which a connection is closed.")] = 600,
    verbose: VerboseOption = False,
) -> None:
    """Denoise the images of MRD streams (ISMRMRD: FIRE, OpenRecon, Gadgetron) and send them back."""
    from monai_stcnnt.services.engine import DenoiserOptions
    from monai_stcnnt.services.mrd.messages import Limits
    from monai_stcnnt.services.mrd.server import MrdServer
    from monai_stcnnt.services.mrd.session import StreamOptions

    _log(verbose)
    options = StreamOptions(DenoiserOptions(strength, self_ensemble, noise_sigma, bundle, device), mode, context)
    limits = Limits(connection=memory << 20, connections=connections, timeout=timeout)
    server = MrdServer(options, address, port, limits)
    _until_stopped(server.serve, server.stop)


@serve.command()
def dicom(
    forward: Annotated[
        list[str], typer.Option(help="Where results go: host:port:TITLE, or the address of a DICOMweb service.")
    ],
    ae_title: Annotated[str, typer.Option(help="Application entity title of this node.")] = "STCNNT",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 11112,
    address: AddressOption = "127.0.0.1",
    folder: Annotated[Path, typer.Option(help="Folder of the queue; it outlives the process.")] = Path("stcnnt-queue"),
    rules: Annotated[Path | None, typer.Option(help="What to do with which series (.yaml).")] = None,
    allow: Annotated[list[str] | None, typer.Option(help="Title that may call; all may by default.")] = None,
    any_called: Annotated[bool, typer.Option("--any-called", help="Answer calls for other titles too.")] = False,
    workers: Annotated[int, typer.Option(help="Series to work on at once, each in a process of its own.")] = 1,
    scheduler: Annotated[str | None, typer.Option(help="Address of a dask scheduler whose workers to use.")] = None,
    silence: Annotated[float, typer.Option(help="Seconds without an image after which a series is complete.")] = 30,
    settle: Annotated[float, typer.Option(help="The same, once its association was released.")] = 3,
    disk: Annotated[float, typer.Option(help="Gigabytes that the queue may hold.")] = 50,
    associations: Annotated[int, typer.Option(help="Associations at once; more are refused.")] = 8,
    verbose: VerboseOption = False,
) -> None:
    """Receive MR series by DICOM, denoise or segment them, and send the results on."""
    from monai_stcnnt.services.dicom.node import DicomNode, NodeOptions
    from monai_stcnnt.services.dicom.rules import DEFAULT_RULES, read_rules
    from monai_stcnnt.services.dicom.spool import Spool
    from monai_stcnnt.services.dicom.targets import target_from
    from monai_stcnnt.services.workers import open_executor

    _log(verbose)
    options = NodeOptions(
        ae_title, address, port, tuple(allow or ()), any_called, associations, silence=silence, settle=settle
    )
    chosen = DEFAULT_RULES if rules is None else read_rules(rules)
    targets = [target_from(text, ae_title) for text in forward]
    spool = Spool(folder, int(disk * (1 << 30)))
    with open_executor(workers, scheduler) as executor, DicomNode(spool, targets, executor, options, chosen) as node:
        _until_stopped(node.serve, node.stop)


def _until_stopped(run: Callable[[], None], stop: Callable[[], None]) -> None:
    """Run a service until the process is asked to end."""

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop()

    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, end)
    run()


def _log(verbose: bool) -> None:
    """Log what this package says, with the time, to standard error."""
    logging.basicConfig(
        level=logging.CRITICAL, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr, force=True
    )
    logging.getLogger("monai_stcnnt").setLevel(logging.DEBUG if verbose else logging.INFO)
