# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""The noise of a scan as a description: level, map, spectrum, kind, and where each of them comes from.

A scanner's noise is white on the matrix that was acquired. What is done to it afterwards is a filter of k-space (a
taper, partial Fourier), zero filling to a larger matrix, and amplification by parallel imaging. So, with white noise
:math:`n` of standard deviation 1 per component, the noise of the image is

.. math:: \sigma \, Z \, W \, (m \cdot n)

with the level :math:`\sigma`, the map :math:`m`, the taper :math:`W` and the zero filling :math:`Z`. The taper has a
root mean square of 1 over the samples that were acquired, and zero filling keeps the signal: the noise then has the
standard deviation :math:`\sigma m` per component both in the image as it is and on the acquired matrix.
:func:`to_acquired` undoes :math:`Z` and :math:`W`, :func:`from_acquired` does them again; a denoiser that works in
between changes nothing outside of the noise's band.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import pi, sqrt
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from monai_stcnnt.errors import NoiseModelError
from monai_stcnnt.mri.axis_spectrum import AxisSpectrum
from monai_stcnnt.mri.fft import fftc, ifftc
from monai_stcnnt.mri.rician import rician_signal

__all__ = [
    "Imaginary",
    "NoiseKind",
    "NoiseModel",
    "NoiseOrigin",
    "Origin",
    "as_complex",
    "beyond_band",
    "check_noise_map",
    "demodulate",
    "echo_shift",
    "from_acquired",
    "map_of_frames",
    "to_acquired",
    "without_leak",
]

NoiseKind = Literal["complex", "rician", "chi"]
Imaginary = Literal["zero", "noise"]
NoiseOrigin = Literal[
    "told", "header", "air", "spectrum", "details", "frames", "noise scan", "assumed", "nothing found", "floor"
]
PARTS = ("level", "map", "spectrum", "kind")
_AXES = ("frames", "rows", "columns")
_DARK = 4.0
_MOST = 3.0  # noise levels by which a pixel changes
_SEEDS = 1_000_003
_BEYOND, _BEYOND_FALL = 0.3, 0.7


@dataclass(frozen=True)
class Origin:
    """Where a part of a noise model comes from.

    Attributes:
        source: ``"told"`` by the user, read from the ``"header"``, estimated (``"air"``, the image's ``"spectrum"``,
            fine ``"details"``, changes over ``"frames"``, a ``"noise scan"``), ``"assumed"`` for want of a sign of
            anything else, ``"nothing found"`` (there is no noise to be seen), or the ``"floor"`` of an image without
            noise.
        certainty: how sure it is, from 0 (a guess) to 1.
        remark: what a reader should know, such as a header that says something else.
    """

    source: NoiseOrigin
    certainty: float = 1.0
    remark: str = ""


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """The noise of a series ``(Z, C, T, H, W)``, see the module.

    Attributes:
        level: standard deviation per component, in the units of the image, where the map is 1.
        kind: ``"complex"``, or of magnitudes ``"rician"`` (one coil, or coils that were combined with their phases) or
            ``"chi"`` (root sum of squares over coils).
        num_coils: half the degrees of freedom: 1, or for ``"chi"`` the number of coils whose noise is independent.
        spectrum: part of k-space that the noise fills, of the axes ``(T, H, W)``; frames in time are white.
        noise_map: relative level ``(Z or 1, frames, rows, columns)`` on a grid as coarse as it likes, which
            :func:`map_of_frames` brings to the image's; None where it is the same everywhere.
        echo_shift: distance of the signal's center from that of k-space, in samples along ``(H, W)``.
        origins: where ``level``, ``map``, ``spectrum`` and ``kind`` come from.
        is_plain: whether the noise is white, the same everywhere, of one coil, and the signal in the center of k-space;
            follows from the others.
        matrix: the acquired matrix ``(T, H, W)``; follows from the spectrum.

    Raises:
        NoiseModelError: when a value makes no sense or the parts do not fit each other.
    """

    level: float
    kind: NoiseKind
    spectrum: tuple[AxisSpectrum, AxisSpectrum, AxisSpectrum]
    num_coils: int = 1
    noise_map: Tensor | None = None
    echo_shift: tuple[float, float] = (0.0, 0.0)
    origins: Mapping[str, Origin] = field(default_factory=dict)
    is_plain: bool = field(init=False)
    matrix: tuple[int, int, int] = field(init=False)

    def __post_init__(self) -> None:
        """Check the parts, and give each an origin."""
        if not 0 < self.level < float("inf"):
            raise NoiseModelError(f"The noise level is {self.level}. Give a positive number.")
        if self.kind not in get_args(NoiseKind) or self.num_coils < 1:
            raise NoiseModelError(
                f"The kind of noise is {self.kind!r} of {self.num_coils} coils. Choose among "
                f"{', '.join(get_args(NoiseKind))}, of 1 coil or more."
            )
        if self.noise_map is not None:
            check_noise_map(self.noise_map)
        origins = {part: self.origins.get(part, Origin("assumed", 0.5)) for part in PARTS}
        object.__setattr__(self, "origins", origins)
        is_plain = self.is_white and self.noise_map is None and self.kind != "chi" and self.echo_shift == (0.0, 0.0)
        object.__setattr__(self, "is_plain", is_plain)
        object.__setattr__(self, "matrix", tuple(axis.acquired for axis in self.spectrum))

    @property
    def is_white(self) -> bool:
        """Whether the noise fills all of k-space evenly."""
        return all(axis.is_white for axis in self.spectrum)

    def as_dict(self) -> dict[str, Any]:
        """What can be written as JSON: everything but the map, of which the range over the image is told."""
        out: dict[str, Any] = {"level": self.level, "kind": self.kind, "num_coils": self.num_coils}
        out["spectrum"] = {
            name: {"size": axis.size, "start": axis.start, "stop": axis.stop, "taper": list(axis.taper)}
            for name, axis in zip(_AXES, self.spectrum, strict=True)
        }
        out["echo_shift"] = list(self.echo_shift)
        out["map"] = None
        if self.noise_map is not None:
            low, middle, high = np.quantile(self.noise_map.numpy(), (0.05, 0.5, 0.95)).tolist()
            out["map"] = {"shape": list(self.noise_map.shape), "p5": low, "median": middle, "p95": high}
        out["origins"] = {
            part: {"source": o.source, "certainty": round(o.certainty, 3), "remark": o.remark}
            for part, o in self.origins.items()
        }
        return out

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], noise_map: Tensor | None = None) -> NoiseModel:
        """The model that :meth:`as_dict` told of; its map comes apart from it.

        Raises:
            NoiseModelError: when an entry is missing or makes no sense.
        """
        try:
            axes = [values["spectrum"][name] for name in _AXES]
            spectrum = [AxisSpectrum(a["size"], a["start"], a["stop"], tuple(a.get("taper", ()))) for a in axes]
            return cls(
                level=float(values["level"]),
                kind=values["kind"],
                spectrum=(spectrum[0], spectrum[1], spectrum[2]),
                num_coils=int(values.get("num_coils", 1)),
                noise_map=noise_map,
                echo_shift=(float(values["echo_shift"][0]), float(values["echo_shift"][1])),
                origins={part: Origin(**origin) for part, origin in values.get("origins", {}).items()},
            )
        except (KeyError, TypeError, IndexError) as error:
            raise NoiseModelError(f"The noise model lacks an entry, or has a wrong one: {error}.") from error

    def describe(self) -> str:
        """The model in one line, for logs and tables."""
        parts = [f"sigma = {self.level:.4g} ({_origin(self.origins['level'])})"]
        if self.noise_map is None:
            parts.append("map told" if self.origins["map"].source == "told" else "the same everywhere")
        else:
            low, high = np.quantile(self.noise_map.numpy(), (0.05, 0.95))
            parts.append(f"map from {low:.2f} to {high:.2f} ({_origin(self.origins['map'])})")
        bands = [
            f"{name} {axis.acquired} of {axis.size}{', tapered' if axis.taper else ''}"
            for name, axis in zip(_AXES, self.spectrum, strict=True)
            if not axis.is_white
        ]
        parts.append("; ".join(bands) + f" ({_origin(self.origins['spectrum'])})" if bands else "white")
        parts.append(self.kind if self.kind != "chi" else f"non-central chi of {self.num_coils} coils")
        return ", ".join(parts)


def _origin(origin: Origin) -> str:
    return f"{origin.source}, {origin.certainty:.0%} sure"


def check_noise_map(noise_map: Tensor, shape: Sequence[int] | None = None) -> None:
    """Refuse a map that is not finite and positive, or whose axes ``(Z, T, H, W)`` are neither 1 nor the image's.

    Raises:
        NoiseModelError: naming what was found.
    """
    given = tuple(noise_map.shape)
    if len(given) != 4 or (shape and any(n not in (1, m) for n, m in zip(given, shape, strict=True))):
        raise NoiseModelError(
            f"The noise map has the shape {given}, which does not fit an image of {tuple(shape or ())}."
        )
    if not bool((torch.isfinite(noise_map) & (noise_map > 0)).all()):
        raise NoiseModelError(
            f"The noise map has values that are not finite and positive (lowest {float(noise_map.min()):g}). "
            "Give every voxel a noise level, also in air."
        )


def map_of_frames(model: NoiseModel, item: int, frames: slice, total: int, size: Sequence[int]) -> Tensor:
    """The relative noise level of frames of one item, ``(t, H, W)``; ones where the model has no map.

    Args:
        model: the noise.
        item: the first axis of the image.
        frames: which frames, with a start and a stop.
        total: frames of the item.
        size: ``(H, W)`` to interpolate to, the image's or that of the acquired matrix.
    """
    count = frames.stop - frames.start
    if model.noise_map is None:
        return torch.ones(count, *size)
    grid = model.noise_map[item if model.noise_map.shape[0] > 1 else 0]
    if grid.shape[0] > 1:
        place = (torch.arange(frames.start, frames.stop) + 0.5) * grid.shape[0] / total - 0.5
        low = place.floor().long().clamp(0, grid.shape[0] - 2)
        share = (place - low)[:, None, None]
        grid = grid[low] ** (1 - share) * grid[low + 1] ** share
    if tuple(grid.shape[-2:]) != tuple(size):
        grid = torch.nn.functional.interpolate(grid[:, None], size=tuple(size), mode="bilinear", align_corners=False)[
            :, 0
        ]
    return grid.expand(count, *size)


def to_acquired(image: Tensor, spectra: Sequence[AxisSpectrum], dims: Sequence[int] = (-2, -1)) -> Tensor:
    """Bring an image to the matrix that was acquired, and make its noise white; the brightness stays.

    Args:
        image: real or complex, of any shape.
        spectra: of the axes ``dims``.
        dims: the axes.

    A support beside the center of k-space is turned around until the zero frequency is where it belongs, which leaves
    white noise white.

    Returns:
        Tensor of the same kind whose ``dims`` have as many samples as were acquired. Its noise has the standard
        deviation that it had, and fills all of k-space evenly, but for parts that were not sampled at all.
    """
    return _filtered(image, spectra, dims, inward=True)


def from_acquired(image: Tensor, spectra: Sequence[AxisSpectrum], dims: Sequence[int] = (-2, -1)) -> Tensor:
    """Bring an image on the acquired matrix to that of the file, tapered and zero-filled: undo :func:`to_acquired`.

    The image is ``(..., H, W)``, or has the shape that ``dims`` names.
    """
    return _filtered(image, spectra, dims, inward=False)


def _filtered(image: Tensor, spectra: Sequence[AxisSpectrum], dims: Sequence[int], *, inward: bool) -> Tensor:
    used = [(axis, dim % image.ndim) for axis, dim in zip(spectra, dims, strict=True) if not axis.is_white]
    if not used:
        return image
    axes = [dim for _, dim in used]
    kspace = fftc(image, axes)
    scale = 1.0
    for axis, dim in used:
        have, want = (axis.size, axis.acquired) if inward else (axis.acquired, axis.size)
        if kspace.shape[dim] != have:
            raise NoiseModelError(f"axis {dim} has {kspace.shape[dim]} samples, and the noise model is of {have}.")
        scale *= sqrt(want / have)
        if inward:
            kspace = kspace.narrow(dim, axis.start, axis.acquired)
        turn = axis.acquired // 2 - (axis.size // 2 - axis.start)
        if turn and not inward:
            kspace = torch.roll(kspace, -turn, dim)
        if axis.taper:
            weights = torch.tensor(axis.taper, device=kspace.device)
            weights = torch.where(weights > 0, 1 / weights.clamp(min=1e-6), 0.0) if inward else weights
            kspace = kspace * weights.reshape([-1 if d == dim else 1 for d in range(kspace.ndim)])
        if turn and inward:
            kspace = torch.roll(kspace, turn, dim)
        if not inward:
            shape = list(kspace.shape)
            shape[dim] = axis.size
            filled = kspace.new_zeros(shape)
            filled.narrow(dim, axis.start, axis.acquired).copy_(kspace)
            kspace = filled
    out = ifftc(kspace, axes) * scale
    return out if image.is_complex() else out.real


def beyond_band(axis: AxisSpectrum) -> AxisSpectrum:
    """The band of magnitudes with what lies around it, up to 1.6 times as wide, the same on both sides of the center.

    The phase of the image spreads the noise of magnitudes beyond the band of the complex noise; and an image that is
    sampled more finely than its band asks for is denoised better. The k-space of a real image is symmetric, and what is
    left of noise that was sampled on one side only is half of its power on both.
    """
    if axis.is_white:
        return axis
    size, center = axis.size, axis.size // 2
    samples = np.arange(size)
    power = np.square(axis.weights().double().numpy())
    inside = (samples >= axis.start) & (samples < axis.stop)
    mirror = (2 * center - samples) % size
    sides = inside.astype(float) + inside[mirror]
    weights = np.sqrt((power + power[mirror]) / np.maximum(sides, 1))
    reach = int(np.abs(samples[inside] - center).max())
    wide = min(reach + round(_BEYOND * axis.acquired), center)
    fall = _BEYOND_FALL ** (np.maximum(np.abs(samples - center) - reach, 0) / max(wide - reach, 1))
    rim = weights[center - reach]
    weights = np.where(np.abs(samples - center) <= reach, weights, rim * fall)
    stop = min(center + wide + 1, size)
    return AxisSpectrum(size, center - wide, stop, tuple(weights[center - wide : stop].tolist()))


def as_complex(white: Tensor, imaginary: Imaginary, level: Tensor | float, item: int, start: int = 0) -> Tensor:
    """Magnitudes with white noise as the real part of a complex image.

    No part of their mean is then taken for the bias of a Rician image, which a filter of k-space changes.

    Args:
        white: ``(..., 1, T, H, W)``.
        imaginary: ``"zero"`` for a network for real images; ``"noise"`` of that level for one for complex images alone,
            which else sees less noise than there is.
        level: noise level, broadcast to it.
        item: number of the series in its file.
        start: number of the first frame; the noise of each is the same, whatever frames it is drawn with.

    Returns:
        Tensor ``(..., 2, T, H, W)``.
    """
    if imaginary == "zero":
        return torch.cat([white, torch.zeros_like(white)], -4)
    shape = white.shape
    seeds = range(item * _SEEDS + start, item * _SEEDS + start + shape[-3])
    drawn = [torch.randn(*shape[:-3], *shape[-2:], generator=torch.Generator().manual_seed(s)) for s in seeds]
    noise = torch.stack(drawn, -3).to(white)
    return torch.cat([white, noise * level], -4)


def without_leak(image: Tensor, mean: Tensor, inside: Tensor, level: Tensor | float, *, is_biased: bool) -> Tensor:
    """Put a denoised magnitude image back: inside of the noise's band, and outside where the result is dark.

    Where there is little signal the noise of magnitudes leaks out of the band in which the complex noise lies; where
    there is more than a few noise levels, what lies outside is left as it is. No pixel changes by more than three noise
    levels: beyond that it is ringing of strong edges in the band, which is no noise.

    Args:
        image: the image as it was, of any shape.
        mean: the denoised image in the band, of that shape.
        inside: the part of the image as it was that lies in the band.
        level: noise level.
        is_biased: whether the denoised image still has the mean of magnitudes.

    Returns:
        The image, nowhere negative where it was not.
    """
    dark = torch.sigmoid(_DARK - mean / level)
    result = mean + (1 - dark) * (image - inside)
    if is_biased:
        result = torch.from_numpy(rician_signal((result / level).cpu().numpy())).to(image) * level
    change = ((result - image) / level).clamp(-_MOST, _MOST) * level
    return (image + change).maximum(image.clamp(max=0))


def echo_shift(image: Tensor) -> tuple[float, float]:
    """Distance of the signal's center from that of k-space, in samples along the last two axes of a complex image.

    The image is ``(..., H, W)``, the result for (H, W). It is the mean phase from pixel to pixel, which a linear phase
    that is multiplied onto the image shifts by exactly its slope.
    """
    height, width = image.shape[-2:]
    steps = []
    for dim, length in ((-2, height), (-1, width)):
        product = image.narrow(dim, 1, length - 1) * image.narrow(dim, 0, length - 1).conj() if length > 1 else image
        steps.append(float(torch.angle(product.sum())) * length / (2 * pi) if length > 1 else 0.0)
    return steps[0], steps[1]


def demodulate(image: Tensor, shift: Sequence[float]) -> Tensor:
    """Take a linear phase of ``shift`` samples of k-space along ``(H, W)`` off a complex image; negative puts it on."""
    for dim, samples in zip((-2, -1), shift, strict=True):
        if samples:
            length = image.shape[dim]
            angle = -2 * pi * samples * (torch.arange(length, device=image.device, dtype=torch.float64) / length)
            phase = torch.polar(torch.ones_like(angle), angle).to(image.dtype)
            image = image * (phase[:, None] if dim == -2 else phase)
    return image
