# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Convert published checkpoints to weights and configs of MONAI."""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import logging
from pathlib import Path
from typing import IO, Any, Literal

import torch
from monai.bundle import ConfigParser
from torch import nn

from monai_stcnnt import __version__
from monai_stcnnt.apps.bundles import bundle_folder
from monai_stcnnt.apps.converted_bundle import (
    MIT_LICENSE,
    Provenance,
    converted_inference,
    converted_metadata,
    converted_readme,
)
from monai_stcnnt.checkpoints import export_network, load_adapters, load_hrnet, load_weights
from monai_stcnnt.checkpoints.exports import ExportFormat, check_export_format
from monai_stcnnt.checkpoints.hrnet import hrnet_options
from monai_stcnnt.checkpoints.snraware import build_snraware
from monai_stcnnt.data import check_exists, write_aside
from monai_stcnnt.errors import (
    MissingFileError,
    NetworkConfigError,
    OutputNotWritableError,
    ResultExistsError,
)
from monai_stcnnt.networks import merge_adapters
from monai_stcnnt.networks.backbones import FrameBackbone
from monai_stcnnt.networks.blocks import CellBlock
from monai_stcnnt.networks.cells import AttentionCell
from monai_stcnnt.networks.nets import HRNetV2, STCNNTDenoiser

__all__ = ["CheckpointKind", "convert"]

logger = logging.getLogger(__name__)

CheckpointKind = Literal["snraware", "hrnet", "network"]

OPTIONS: dict[str, tuple[str, ...]] = {
    "snraware": ("config", "trust", "bundle", "in_channels", "merge", "export"),
    "hrnet": ("out_channels", "in_channels", "spatial_dims", "export"),
    "network": ("config", "net_id", "merge", "export"),
}
"""Options that belong to the kinds of checkpoints."""


def convert(
    weights: str | Path,
    output: str | Path,
    *,
    kind: CheckpointKind,
    config: str | Path | None = None,
    trust: bool = False,
    bundle: bool = False,
    out_channels: int | None = None,
    in_channels: int | None = None,
    spatial_dims: int | None = None,
    net_id: str | None = None,
    merge: str | Path | None = None,
    export: ExportFormat | None = None,
    redo: bool = False,
) -> list[Path]:
    """Convert a published checkpoint to plain weights and the config that builds their network.

    ``model.pt`` holds names and tensors, nothing else; ``model.json`` beside it is a fragment of a MONAI config whose
    ``network_def`` names every keyword of the network that the weights fit strictly. What was adapted is logged.

    Args:
        weights: the checkpoint.
        output: name of the weights (``.pt``), or a folder for ``model.pt``; with ``bundle`` the folder to be made.
        kind: ``snraware`` for denoisers, ``hrnet`` for HRNetV2, ``network`` for weights of this package.
        config: (snraware, required) the configuration that was published with the weights; (network, required) the
            MONAI config that builds it: a ``model.json``, or a bundle's ``inference.json``.
        trust: (snraware) allow a TorchScript archive, which holds code.
        bundle: (snraware) make a bundle that denoises complex images.
        out_channels: (hrnet) number of classes, if not the checkpoint's; a classification checkpoint needs it.
        in_channels: channels of the image, if not the checkpoint's; for snraware, 2 leaves out the g-factor map.
        spatial_dims: (hrnet) 2 or 3, if not the checkpoint's.
        net_id: (network) the entry of the config that builds it, ``network_def`` by default.
        merge: (snraware, network) adapters of :func:`~monai_stcnnt.checkpoints.save_adapters` to add to the weights.
        export: also write the network as a file that runs without this package, beside the weights: ``pt2``, ``onnx``
            or ``ts``, see :mod:`monai_stcnnt.checkpoints.exports`.
        redo: replace files that are in the way; the same files, made again, are never in the way.

    Returns:
        The weights, the config and the exported file that were written, or the folder of the bundle.

    Raises:
        MissingFileError: if a file does not exist.
        UnreadableFileError: for files that are no checkpoint, or no published configuration.
        PickledCodeError: for weights that hold code and are not trusted.
        CheckpointMismatchError: if names or shapes do not fit the network, or adapters are those of another one.
        ExportMismatchError: if the exported file does not give the network's results.
        MissingPackageError: if ONNX is asked for, and what makes and checks it is not installed.
        NetworkConfigError: for options that do not belong to this kind, or do not fit together.
        ResultExistsError: if another file has the name of one that is to be written.
        OutputNotWritableError: if the output cannot be written, or would replace what it is made from.
    """
    given: dict[str, Any] = {"config": config, "trust": trust, "bundle": bundle}
    given |= {"out_channels": out_channels, "in_channels": in_channels, "spatial_dims": spatial_dims}
    given |= {"net_id": net_id, "merge": merge, "export": export}
    chosen = {name: value for name, value in given.items() if value is not None and value is not False}
    _check_options(kind, chosen)
    weights, output = check_exists(weights), Path(output).expanduser()
    sources = [Path(file) for file in (weights, config, merge) if file is not None]
    target = _new_folder(output) if bundle else _weights_file(output, sources)
    _check_export(target, export, redo=redo)
    if kind == "hrnet":
        net, _ = load_hrnet(weights, **{name: value for name, value in chosen.items() if name != "export"})
        options = _defaults(HRNetV2) | hrnet_options(net.state_dict())
        return _write_model(net, _definition(net, options), target, redo=redo) + _exported(
            net, target, export, net.in_channels
        )
    assert config is not None  # _check_options refuses these without it
    if kind == "network":
        plain, definition = _built(Path(config), net_id or "network_def")
        load_weights(plain, weights)
        plain = plain if merge is None else merge_adapters(load_adapters(plain, merge))
        return _write_model(plain, definition, target, redo=redo) + _exported(
            plain, target, export, int(getattr(plain, "in_channels", 1))
        )
    denoiser, chosen_options = build_snraware(weights, config, trust=trust, in_channels=in_channels)
    if merge is not None:
        merge_adapters(load_adapters(denoiser, merge))
    options = _defaults(STCNNTDenoiser, type(denoiser.backbone), FrameBackbone, CellBlock, AttentionCell)
    options |= chosen_options
    logger.info("%s: SNRAware denoiser, %s parameters, img_size %s", weights, _count(denoiser), options["img_size"])
    definition = _definition(denoiser, options)
    if bundle:
        return [_write_bundle(denoiser, definition, target, _provenance(weights, Path(config)))]
    return _write_model(denoiser, definition, target, redo=redo) + _exported(
        denoiser, target, export, denoiser.in_channels
    )


def _built(config: Path, net_id: str) -> tuple[Any, dict[str, Any]]:
    """The network that an entry of a MONAI config builds, and the entry with its references filled in."""
    if not config.is_file():
        raise MissingFileError(f"There is no config {config}.")
    parser = ConfigParser()
    parser.read_config(str(config))
    if net_id not in parser:
        raise NetworkConfigError(f"{config} has no entry {net_id!r}; name the one that builds the network by --net-id.")
    network = parser.get_parsed_content(net_id)
    parser = ConfigParser()
    parser.read_config(str(config))
    entry = parser.get_parsed_content(net_id, instantiate=False).get_config()
    resolved = {name: parser.get_parsed_content(f"{net_id}::{name}") for name in entry if name != "_target_"}
    return network, json.loads(json.dumps({"_target_": entry["_target_"], **resolved}))


def _check_export(weights: Path, form: ExportFormat | None, *, redo: bool) -> None:
    """Refuse, before the work, what cannot be exported, or would replace another file."""
    if form is None:
        return
    check_export_format(form)
    file = weights.with_suffix(f".{form}")
    if file.exists() and not redo:
        raise ResultExistsError(f"{file} exists already. Choose another name or folder, or replace it with --redo.")


def _exported(net: nn.Module, weights: Path, form: ExportFormat | None, in_channels: int) -> list[Path]:
    """Write the exported file beside the weights, if one is asked for."""
    return [] if form is None else [export_network(net, weights.with_suffix(f".{form}"), form, in_channels)]


def _check_options(kind: str, chosen: dict[str, Any]) -> None:
    """Refuse options of the other kind, and snraware without a configuration."""
    if kind not in OPTIONS:
        raise NetworkConfigError(f"kind must be one of {', '.join(OPTIONS)}, got {kind!r}.")
    foreign = [_flag(name) for name in chosen if name not in OPTIONS[kind]]
    if "--bundle" in foreign and kind == "hrnet":
        raise NetworkConfigError(
            "There is no bundle for HRNetV2, whose task is yours to choose. Leave out --bundle, and use model.json and "
            "model.pt in a config of your own."
        )
    if foreign:
        own = ", ".join(_flag(name) for name in OPTIONS[kind])
        raise NetworkConfigError(f"{', '.join(foreign)} does not belong to --kind {kind}, which takes {own}.")
    if kind == "network" and "config" not in chosen:
        raise NetworkConfigError("Give the MONAI config that builds the network with --config, such as model.json.")
    if "bundle" in chosen and "export" in chosen:
        raise NetworkConfigError("--bundle makes a folder, and --export a file; use one after the other.")
    if kind == "snraware" and "config" not in chosen:
        raise NetworkConfigError(
            "SNRAware weights need the configuration (.yaml) that was published with them; give it with --config."
        )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _weights_file(output: Path, sources: list[Path]) -> Path:
    """Name of the weights to be written; neither they nor the config beside them may replace a source."""
    if output.is_dir() or not output.suffix:
        output = output / "model.pt"
    if output.suffix != ".pt":
        raise OutputNotWritableError(
            f"{output} does not end in .pt, as converted weights do. Choose such a name, or a folder that exists."
        )
    for file in (output, output.with_suffix(".json")):
        if file.is_dir():
            raise OutputNotWritableError(f"{file} is a folder; a file of this name is to be written. Choose another.")
        if any(file.exists() and source.exists() and file.samefile(source) for source in sources):
            raise OutputNotWritableError(f"{file} is what the network is converted from. Choose another output.")
    return output


def _new_folder(output: Path) -> Path:
    if output.exists():
        raise OutputNotWritableError(f"{output} exists already. Choose another folder for the bundle.")
    return output


def _defaults(*classes: type[nn.Module]) -> dict[str, Any]:
    """Keywords and defaults of constructors that hand the rest of their keywords to the next."""
    parameters = [p for one in classes for p in inspect.signature(one).parameters.values()]
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _definition(net: nn.Module, options: dict[str, Any]) -> dict[str, Any]:
    """The entry of a MONAI config that builds a network, made of plain JSON."""
    definition = {"_target_": f"monai_stcnnt.networks.nets.{type(net).__name__}", **options}
    plain: dict[str, Any] = json.loads(json.dumps(definition))
    return plain


def _count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def _save_plain(net: nn.Module, file: IO[bytes]) -> None:
    """Save names and tensors, without the metadata that a state dict carries."""
    torch.save({name: tensor.detach().cpu().clone() for name, tensor in net.state_dict().items()}, file)


def _as_json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=4) + "\n"


def _write_model(net: nn.Module, definition: dict[str, Any], target: Path, *, redo: bool) -> list[Path]:
    """Write the weights, and the config that builds their network beside them."""
    config, weights = target.with_suffix(".json"), io.BytesIO()
    _save_plain(net, weights)
    contents = {target: weights.getvalue(), config: _as_json({"network_def": definition}).encode()}
    for file, content in contents.items():
        if not redo and file.exists() and file.read_bytes() != content:
            raise ResultExistsError(
                f"{file} exists already, and is another one. Choose another name or folder, or replace it with --redo."
            )
    with write_aside(target) as weights_aside, write_aside(config) as config_aside:
        weights_aside.write_bytes(contents[target])
        config_aside.write_bytes(contents[config])
    return [target, config]


def _provenance(weights: Path, config: Path) -> Provenance:
    digests = []
    for path in (weights, config):
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return Provenance(weights.name, digests[0], config.name, digests[1], __version__)


def _write_bundle(net: nn.Module, definition: dict[str, Any], folder: Path, origin: Provenance) -> Path:
    """Write a bundle for complex images, after the one that this package carries."""
    carried = bundle_folder("mri_denoising") / "configs"
    inference = converted_inference(json.loads((carried / "inference.json").read_text("utf-8")), definition)
    size = definition["img_size"]
    metadata = converted_metadata(json.loads((carried / "metadata.json").read_text("utf-8")), size)
    logging_conf = (carried / "logging.conf").read_text("utf-8")
    with write_aside(folder) as aside:
        for name in ("configs", "docs", "models"):
            (aside / name).mkdir(parents=True)
        for name, content in (("inference", inference), ("metadata", metadata)):
            (aside / "configs" / f"{name}.json").write_text(_as_json(content), encoding="utf-8")
        (aside / "configs" / "logging.conf").write_text(logging_conf, encoding="utf-8")
        (aside / "docs" / "README.md").write_text(converted_readme(origin, size, _count(net)), encoding="utf-8")
        (aside / "LICENSE").write_text(MIT_LICENSE, encoding="utf-8")
        with (aside / "models" / "model.pt").open("wb") as file:
            _save_plain(net, file)
    return folder
