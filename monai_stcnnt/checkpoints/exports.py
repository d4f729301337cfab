# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Networks as files that run without this package: ``torch.export`` programs, ONNX models and TorchScript.

Programs of ``torch.export``, and ONNX models, which are made from such programs, take any batch and number of frames,
and rows and columns in whole multiples of a unit, from twice the unit on; where a layer norm fixes rows and columns,
these. The exception is :class:`~monai_stcnnt.networks.nets.STCNNTGuidedDenoiser`: how its filters cut a clip depends on
the number of frames, so that its files take one batch and number of frames, and any rows and columns from one more than
its unit on. TorchScript takes any size.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from monai.utils import optional_import
from torch import nn
from torch.export import Dim

from monai_stcnnt.errors import ExportMismatchError, MissingPackageError, NetworkConfigError
from monai_stcnnt.networks.backbones import FrameBackbone
from monai_stcnnt.networks.cells import PatchMixer
from monai_stcnnt.networks.hrnetv2.net import HRNetV2
from monai_stcnnt.networks.layers.frames import round_up
from monai_stcnnt.networks.layers.spatial_attention import SpatialAttention
from monai_stcnnt.networks.nets import PackedUNet, STCNNTGuidedDenoiser

__all__ = ["ExportFormat", "check_export", "check_export_format", "export_network", "size_unit"]

ExportFormat = Literal["pt2", "onnx", "ts"]
TOLERANCE = 1e-4
HRNET_UNIT = 32
LARGEST = 1024

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")

onnxruntime, _ = optional_import("onnxruntime")


def check_export_format(form: str) -> None:
    """Make sure, before the work starts, that a network can be exported.

    Args:
        form: ``pt2``, ``onnx`` or ``ts``.

    Raises:
        MissingPackageError: if a package is not installed that makes or checks ONNX models.
        NetworkConfigError: if there is no such form.
    """
    if form not in get_args(ExportFormat):
        raise NetworkConfigError(f"export must be one of {', '.join(get_args(ExportFormat))}, got {form!r}.")
    missing = [name for name in ONNX_PACKAGES if form == "onnx" and not optional_import(name)[1]]
    if missing:
        raise MissingPackageError(
            f'ONNX models are made and checked by {", ".join(missing)}: pip install "monai-stcnnt[onnx]".'
        )


def size_unit(net: nn.Module, in_channels: int) -> tuple[int, int, int]:
    """The smallest (t, h, w), powers of 2, in whose multiples the network neither pads nor crops inside.

    Args:
        net: a network of this package in the layout (B, C, T, H, W).
        in_channels: its input channels.

    Raises:
        NetworkConfigError: for a network whose windows are of no power of 2, or one of another package.
    """
    if isinstance(net, HRNetV2):
        return (1 if net.spatial_dims == 2 else HRNET_UNIT), HRNET_UNIT, HRNET_UNIT
    if isinstance(net, PackedUNet):
        return 1, net.multiple, net.multiple
    multiples = [m.multiple for m in net.modules() if isinstance(m, FrameBackbone)]
    if not multiples:
        raise NetworkConfigError(f"{type(net).__name__} is no network of this package. Export it as ts.")
    step = int(getattr(net, "pack", 1)) * multiples[0]
    for frames in (1, 2, 4, 8, 16):
        for side in (s for s in (4, 8, 16, 32, 64, 128) if s % step == 0):
            if all(_fits(net, torch.zeros(1, in_channels, n * frames, n * side, n * side)) for n in (2, 3)):
                return frames, side, side
    raise NetworkConfigError("The windows of this network are of no power of 2. Export it as ts, which takes any size.")


@torch.no_grad()
def _fits(net: nn.Module, x: torch.Tensor) -> bool:
    """Whether no cell pads an image of this size."""
    fits: list[bool] = []

    def look(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        t, h, w = inputs[0].shape[1], inputs[0].shape[3], inputs[0].shape[4]
        if isinstance(module, PatchMixer):
            fits.append(round_up((t, h, w), module.patch) == (t, h, w))
        elif isinstance(module, SpatialAttention):
            size = (t if module.volume else 1, h, w)
            fits.append(module.fit_windows(size)[0] == size)

    kinds = (PatchMixer, SpatialAttention)
    handles = [m.register_forward_pre_hook(look) for m in net.modules() if isinstance(m, kinds)]
    try:
        net(x)
    finally:
        for handle in handles:
            handle.remove()
    return all(fits)


def export_network(
    net: nn.Module, path: str | Path, form: ExportFormat, in_channels: int, window: tuple[int, int, int] = (16, 64, 64)
) -> Path:
    """Write a network as a file that runs without this package, and check that it gives the network's results.

    Args:
        net: the network, in the layout (B, C, T, H, W); it is put in eval mode.
        path: the file.
        form: ``pt2`` (``torch.export``), ``onnx`` or ``ts`` (TorchScript).
        in_channels: channels of its input.
        window: (t, h, w) of the program or ONNX model of a guided denoiser: it takes t frames, and h rows and w columns
            are checked.

    Returns:
        The file.

    Raises:
        ExportMismatchError: if the file's results differ, with by how much; the file is removed.
        MissingPackageError: see :func:`check_export_format`.
        NetworkConfigError: see there, and :func:`size_unit`.
    """
    check_export_format(form)
    path, net = Path(path), net.eval()
    if form == "ts":
        torch.jit.script(net).save(str(path))
        built = _built_size(net)
        others = [(2, 3, 40, 56), (1, 4, 64, 32)] if built is None else [(2, *built)]
        check_export(net, path, form, [_example(net, in_channels, size) for size in others])
        return path
    sizes, axes = _dynamic_sizes(net, in_channels, window)
    examples = [_example(net, in_channels, size) for size in sizes]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about its own internals
        program = torch.export.export(
            net, (examples[0],), dynamic_shapes=(axes,), strict=False,
            prefer_deferred_runtime_asserts_over_guards=isinstance(net, STCNNTGuidedDenoiser),
        )  # fmt: skip
        if form == "pt2":
            torch.export.save(program, path)
        else:
            _save_onnx(program, path)
    check_export(net, path, form, examples)
    return path


def _built_size(net: nn.Module) -> tuple[int, int, int] | None:
    """The size (T, H, W) that the network was built for, if a layer norm fixes its rows and columns."""
    for module in net.modules():
        if isinstance(module, FrameBackbone) and module.fixed_image:
            step = int(getattr(net, "pack", 1))
            return module.img_size[0], step * module.img_size[1], step * module.img_size[2]
    return None


def _dynamic_sizes(
    net: nn.Module, in_channels: int, window: tuple[int, int, int]
) -> tuple[list[tuple[int, int, int, int]], dict[int, Any]]:
    """Sizes (B, T, H, W) to export and to check a network with, and the axes whose extent may differ."""
    batch = Dim("batch", min=1, max=LARGEST)
    frames, rows, columns = (Dim(name, min=2, max=LARGEST) for name in ("frames", "rows", "columns"))
    built = _built_size(net)
    if built is not None:
        several = not any(isinstance(module, FrameBackbone) and module.fixed_time for module in net.modules())
        axes = {0: batch, 2: frames} if several else {0: batch}
        t, h, w = built
        return [(2, t, h, w), (1, t + 1 if several else t, h, w)], axes
    t, h, w = size_unit(net, in_channels)
    if isinstance(net, STCNNTGuidedDenoiser):
        free = {axis: Dim(name, min=h + 1, max=LARGEST) for axis, name in ((3, "rows"), (4, "columns"))}
        return [(1, window[0], h + 19, w + 26), (1, *window), (1, window[0], h + 1, w + 32)], free
    axes = {0: batch, 2: t * frames if t > 1 else frames, 3: h * rows, 4: w * columns}
    return [(2, 3 * t, 3 * h, 5 * w), (1, 2 * t, 2 * h, 4 * w)], axes


def _example(net: nn.Module, in_channels: int, size: tuple[int, ...]) -> torch.Tensor:
    """An image of ``size`` = (B, T, H, W); a g-factor map, by which a guided denoiser divides, is 1."""
    x = 10 * torch.rand(size[0], in_channels, *size[1:])
    if isinstance(net, STCNNTGuidedDenoiser):
        x[:, net.out_channels :] = 1
    return x


def _save_onnx(program: torch.export.ExportedProgram, path: Path) -> None:
    """Write an ONNX model, simplified by onnxruntime, which is many times as fast at it as the exporter's optimizer."""
    model = torch.onnx.export(program, dynamo=True, verbose=False, optimize=False)
    assert model is not None
    options = _onnx_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(model.model_proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _onnx_options() -> Any:  # noqa: ANN401 - of a library that may be missing
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors: it says at length what it does not simplify
    return options


@torch.no_grad()
def check_export(net: nn.Module, path: Path, form: ExportFormat, examples: list[torch.Tensor]) -> float:
    """Compare an exported file with its network.

    A guided denoiser groups the nearest blocks. Of two that are equally near up to rounding, another one may be taken,
    which changes some pixels in one of twenty images; so the best of three images counts.

    Returns:
        The largest difference, as a share of the largest result.

    Raises:
        ExportMismatchError: if that is above 1e-4; the file is removed.
    """
    worst = 0.0
    for x in examples:
        tried = [x, x.flip(-1), x.flip(-2)] if isinstance(net, STCNNTGuidedDenoiser) else [x]
        worst = max(worst, min(_difference(net, path, form, image) for image in tried))
    if not worst <= TOLERANCE:
        path.unlink()
        raise ExportMismatchError(
            f"{path} does not give the results of its network: they differ by {worst:.2g} of the largest one, and "
            f"{TOLERANCE} is allowed. The file was removed."
        )
    return worst


def _difference(net: nn.Module, path: Path, form: ExportFormat, x: torch.Tensor) -> float:
    """The largest difference for one input, as a share of the largest result."""
    wanted = net(x)
    return float((_run(path, form, x) - wanted).abs().max()) / (float(wanted.abs().max()) + 1e-6)


def _run(path: Path, form: ExportFormat, x: torch.Tensor) -> torch.Tensor:
    if form == "ts":
        with torch.jit.optimized_execution(False):
            result: torch.Tensor = torch.jit.load(str(path))(x)
        return result
    if form == "pt2":
        return torch.as_tensor(torch.export.load(path).module()(x))
    session = onnxruntime.InferenceSession(str(path), _onnx_options(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
