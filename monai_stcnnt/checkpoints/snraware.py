# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Published SNRAware checkpoints: their names, their options, and loading them.

The names of the published state dicts are turned into ours by rule, in one place; derived buffers (causal masks,
position indices) and parameters that never had an effect are dropped; queries, keys and values become one projection.

See also: Xue et al., 2024, https://doi.org/10.48550/arXiv.2404.02382 (code and weights under the MIT licence).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from monai_stcnnt.checkpoints.channels import fit_input_channels
from monai_stcnnt.checkpoints.snraware_options import snraware_denoiser_options
from monai_stcnnt.checkpoints.states import load_strictly, read_state_dict
from monai_stcnnt.errors import CheckpointMismatchError, MissingFileError, PickledCodeError, UnreadableFileError
from monai_stcnnt.networks.nets.denoiser import STCNNTDenoiser

__all__ = [
    "build_snraware",
    "convert_snraware_state",
    "is_torchscript",
    "load_snraware",
    "read_snraware_options",
    "snraware_name",
]

_PREFIXES = ("module.", "model.", "base_model.")
_DERIVED = ("mask", "relative_position_index")

_CELL_RULES: tuple[tuple[str, str], ...] = (
    (r"^attn\.n1\.(?:ln|bn)\.", "attn.norm."),
    (r"^attn\.act_func\.", "attn.act."),
    (r"^attn\.relative_position_bias_table$", "attn.position_bias.table"),
    (r"^attn\.(query|key|value)\.conv\.", r"attn.project.\1.conv."),
    (r"^attn\.(query|key|value)\.linear\.", r"attn.project_tokens.\1."),
    (r"^n([12])\.(?:ln|bn)\.", r"norm\1."),
    (r"^input_proj\.", "proj."),
    (r"^mlp\.0\.conv\.", "mixer.conv1.conv."),
    (r"^mlp\.2\.conv\.", "mixer.conv2.conv."),
    (r"^mlp\.0\.", "mixer.linear1."),
    (r"^mlp\.2\.", "mixer.linear2."),
    (r"^mlp\.1\.", "mixer.act."),
)
_PROJECTION = re.compile(r"^(.*project(?:_tokens)?)\.(query|key|value)\.(conv\.)?(weight|bias)$")
_KERNELS = {
    "mixer_kernel_size": r"cell_\d+\.mlp\.0\.conv\.weight$",
    "kernel_size": r"cell_\d+\.attn\.value\.conv\.weight$",
}
_BATCH_NORM = re.compile(r"(^|\.)(n1|n2)\.bn\.")


def snraware_name(name: str) -> str:
    """Our name of a published parameter of a cell, block, backbone or denoiser.

    Queries, keys and values keep their own names here (``...project.query.conv.weight``);
    :func:`convert_snraware_state` joins them. The decoder of a U-Net is numbered from the bridge up, which needs to
    know the number of levels, so its names come out as ``decoder.-<level>``.
    """
    for pattern, ours in (
        (r"^pre\.", "stem."),
        (r"^post\.", "head."),
        (r"^bk\.", "backbone."),
    ):
        name = re.sub(pattern, ours, name)
    prefix = "backbone." if name.startswith("backbone.") else ""
    name = _backbone_name(name.removeprefix(prefix))
    found = re.match(r"^(.*?)(?:block\.)?cell_(\d+)\.(.*)$", name)
    if found:
        return f"{prefix}{found[1]}cells.{found[2]}.{_cell_name(found[3])}"
    return prefix + _resample_name(_cell_name(name))


def _backbone_name(name: str) -> str:
    """Blocks, resampling modules and gates of the three backbones."""
    rules: tuple[tuple[str, str], ...] = (
        (r"^B(\d)(\d)\.", r"stages.\2.blocks.\1."),
        (r"^output_B(\d)\.", r"fusion.blocks.\1."),
        (r"^down_(\d)\d_(\d)(\d)\.", r"stages.\3.downs.\2.\1."),
        (r"^down_(\d)_(\d)\.", r"fusion.downs.\2.\1."),
        (r"^D(\d)\.", r"encoder.\1."),
        (r"^U(\d)\.", r"decoder.-\1.block."),
        (r"^down_(\d)\.", r"downs.\1."),
        (r"^attention_(\d)\.conv_query\.", r"decoder.-\1.gate.query."),
        (r"^attention_(\d)\.conv_x\.", r"decoder.-\1.gate.skip."),
        (r"^attention_(\d)\.conv_gate\.", r"decoder.-\1.gate.gate."),
        (r"^conv_query\.", "query."),
        (r"^conv_x\.", "skip."),
        (r"^conv_gate\.", "gate."),
    )
    for pattern, ours in rules:
        name = re.sub(pattern, ours, name)
    return re.sub(r"^up_(\d)_(\d)\.", lambda m: f"fusion.ups.{m[2]}.{int(m[1]) - int(m[2]) - 1}.", name)


def _cell_name(name: str) -> str:
    """Parameters of a cell; batch norms are one module deeper with us than layer norms."""
    deeper = _BATCH_NORM.search(name) is not None
    for pattern, ours in _CELL_RULES:
        name = re.sub(pattern, ours, name)
    if deeper:
        head, _, tail = name.rpartition(".")
        name = f"{head}.bn.{tail}"
    return name


def _resample_name(name: str) -> str:
    """Steps of a resampling module: a merge is one module, an interpolation with its convolution two."""
    name = re.sub(r"block\.D2_(\d)\.", r"\1.", name)
    return re.sub(r"block\.U2_(\d)\.conv\.conv\.", lambda m: f"{2 * int(m[1]) + 1}.conv.", name)


def _numbered(names: Mapping[str, Any]) -> dict[str, str]:
    """Names with the parts that depend on the whole state dict filled in."""
    levels = 1 + max((int(m[1]) for n in names if (m := re.search(r"(?:^|\.)U(\d)\.", n))), default=-1)
    downsampled = any("D2_" in n and re.search(r"(?:^|\.)layers\.\d+\.", n) for n in names)
    result = {}
    for name in names:
        ours = snraware_name(name)
        up = re.search(r"(^|\.)up_(\d)\.(.*)$", ours)
        if up:
            place = f"decoder.-{up[2]}.up." if levels else f"fusion.finals.{up[2]}."
            ours = f"{ours[: up.start()]}{up[1]}{place}{up[3]}"
        ours = re.sub(r"decoder\.-(\d)\.", lambda m: f"decoder.{levels - 1 - int(m[1])}.", ours)
        layer = re.search(r"(^|\.)layers\.(\d+)\.(.*)$", ours)
        if layer:
            k, kind = int(layer[2]), "blocks"
            if downsampled:
                k, kind = ((k // 2), "blocks") if k % 2 == 0 else ((k + 1) // 2, "downs")
            ours = f"{ours[: layer.start()]}{layer[1]}{kind}.{k}.{layer[3]}"
        result[name] = ours
    return result


def _plain(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A published state dict without the prefixes of wrappers and without derived buffers."""
    plain: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        short = name
        while short.startswith(_PREFIXES):
            short = short.removeprefix(next(p for p in _PREFIXES if short.startswith(p)))
        if short.rsplit(".", 1)[-1] not in _DERIVED and not re.search(r"(^|\.)downsample\.", short):
            plain[short] = tensor
    return plain


def convert_snraware_state(state: Mapping[str, torch.Tensor], used: nn.Module) -> dict[str, torch.Tensor]:
    """Turn a published state dict into ours.

    Args:
        state: published names and tensors, with or without the prefixes that training wrappers put in front.
        used: the module that will load them; tells which parameters it has no use for (a second normalization without a
            mixer or in a parallel cell, published but never used).

    Returns:
        Our names, queries, keys and values joined into one projection.
    """
    plain = _plain(state)
    ours = {new: plain[old] for old, new in _numbered(plain).items()}
    wanted = set(used.state_dict())
    unused = [name for name in ours if name not in wanted and re.search(r"(^|\.)norm2\.", name)]
    for name in unused:
        del ours[name]
    return _join_projections(ours, wanted)


def _join_projections(state: dict[str, torch.Tensor], wanted: set[str]) -> dict[str, torch.Tensor]:
    """Stack the weights of queries, keys and values (or of queries and keys, where those are strided).

    What is not complete, or not of one shape, keeps its name, which no network knows: the strict loader will list it.
    """
    joined: dict[str, torch.Tensor] = {}
    groups: dict[tuple[str, str, str], dict[str, torch.Tensor]] = {}
    for name, tensor in state.items():
        found = _PROJECTION.match(name)
        if found:
            groups.setdefault((found[1], found[3] or "", found[4]), {})[found[2]] = tensor
        else:
            joined[name] = tensor
    for (root, conv, leaf), parts in groups.items():
        stacked = [parts[which] for which in ("query", "key", "value") if which in parts]
        if len(stacked) < 3 or len({tensor.shape for tensor in stacked}) > 1:
            joined |= {f"{root}.{which}.{conv}{leaf}": tensor for which, tensor in parts.items()}
        elif conv and f"{root}.qkv.conv.{leaf}" not in wanted:
            joined |= {f"{root}.qk.conv.{leaf}": torch.cat(stacked[:2]), f"{root}.v.conv.{leaf}": stacked[2]}
        else:
            joined[f"{root}.qkv.conv.{leaf}" if conv else f"{root}.{leaf}"] = torch.cat(stacked)
    return joined


def is_torchscript(path: Path) -> bool:
    """Tell whether a file is a TorchScript archive, which holds code beside its tensors."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _read_weights(weights: Path, *, trust: bool) -> dict[str, torch.Tensor]:
    """Tensors of a checkpoint file, without running any code of it unless it is trusted."""
    if not (weights.is_file() and is_torchscript(weights)):
        return read_state_dict(weights)
    if not trust:
        raise PickledCodeError(
            f"{weights} is a TorchScript archive, which holds code. If you trust where it comes from, load it with "
            "trust=True (on the command line: --trust)."
        )
    try:
        return dict(torch.jit.load(str(weights), map_location="cpu").state_dict())
    except RuntimeError as error:
        raise UnreadableFileError(f"{weights} cannot be read by torch.jit.load; it is damaged.") from error


def build_snraware(
    weights: str | Path, config_yaml: str | Path, *, trust: bool = False, in_channels: int | None = None
) -> tuple[STCNNTDenoiser, dict[str, Any]]:
    """Do what :func:`load_snraware` does, and return the keywords that the network was built with, too."""
    options = read_snraware_options(config_yaml)
    state = _plain(_read_weights(Path(weights), trust=trust))
    options |= _kernels_of(state) | ({} if in_channels is None else {"in_channels": in_channels})
    net = STCNNTDenoiser(**options)
    load_strictly(net, fit_input_channels(convert_snraware_state(state, net), net), str(weights))
    return net.eval(), options


def load_snraware(
    weights: str | Path, config_yaml: str | Path, *, trust: bool = False, in_channels: int | None = None
) -> STCNNTDenoiser:
    """Build a denoiser from a published SNRAware checkpoint.

    Args:
        weights: ``.pth``, ``.safetensors`` or Lightning-style checkpoint (tensors only), or a TorchScript ``.pts``;
            names may start with ``module.``, ``model.`` or ``base_model.``, as wrappers make them.
        config_yaml: the configuration that was published with it.
        trust: allow a TorchScript archive, which holds code.
        in_channels: 2 leaves the g-factor map out, as if it were 1; more than 3 adds channels that change nothing until
            they are trained (see :func:`~monai_stcnnt.checkpoints.channels.fit_input_channels`).

    Returns:
        The network in eval mode; (B, 3, T, H, W), or ``in_channels``, to (B, 2, T, H, W).

    Raises:
        MissingFileError: when a file does not exist.
        PickledCodeError: for weights that hold code and are not trusted.
        UnreadableFileError: for files that are no checkpoint, or no published configuration.
        CheckpointMismatchError: when names or shapes do not fit the configuration.
    """
    return build_snraware(weights, config_yaml, trust=trust, in_channels=in_channels)[0]


def read_snraware_options(config_yaml: str | Path) -> dict[str, Any]:
    """Keywords of :class:`~monai_stcnnt.networks.nets.STCNNTDenoiser` from a published configuration file.

    Raises:
        MissingFileError: when the file does not exist.
        UnreadableFileError: when it is not a published configuration.
        CheckpointMismatchError: names an option, or a value of one, that there is not here.
    """
    config_path = Path(config_yaml)
    if not config_path.is_file():
        raise MissingFileError(f"No configuration at {config_path}.")
    try:
        return snraware_denoiser_options(yaml.safe_load(config_path.read_text(encoding="utf-8")))
    except CheckpointMismatchError:
        raise
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise UnreadableFileError(f"{config_path} is not a published training configuration ({error!r}).") from error


def _kernels_of(state: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """Kernels of the cells as the weights have them: the published blocks do not read theirs from the configuration."""
    found = {}
    for option, pattern in _KERNELS.items():
        sizes = {int(tensor.shape[-1]) for name, tensor in state.items() if re.search(pattern, name)}
        if len(sizes) == 1:
            found[option] = sizes.pop()
    return found
