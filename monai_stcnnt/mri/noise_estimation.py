# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
r"""The noise model of a series: what is told is taken, what a header says is a hint, the rest the image decides.

The spectrum comes first (:mod:`~monai_stcnnt.mri.spectra`), then levels over the image on the acquired matrix
(:mod:`~monai_stcnnt.mri.noise_map`), with the error that they may have: the larger it is, the lower a level is taken.
Air confirms the level, and several coils, as far as it says the same as the object: weak tissue looks like air of more
noise. A map is believed where levels vary more than they would by themselves; else one number holds.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from monai_stcnnt.errors import NoiseLevelError
from monai_stcnnt.mri.axis_spectrum import AxisSpectrum
from monai_stcnnt.mri.channels import channels_to_complex, complex_to_channels, image_magnitude
from monai_stcnnt.mri.noise_level import (
    NoiseEstimate,
    background_noise_level,
    estimate_noise_level,
    noise_floor,
)
from monai_stcnnt.mri.noise_map import NoiseField, estimate_noise_field
from monai_stcnnt.mri.noise_model import (
    NoiseKind,
    NoiseModel,
    NoiseOrigin,
    Origin,
    check_noise_map,
    demodulate,
    echo_shift,
    to_acquired,
)
from monai_stcnnt.mri.spectra.estimation import estimate_spectrum

__all__ = ["KnownNoise", "bring_image", "estimate_noise_model"]

logger = logging.getLogger(__name__)

_COILS = (2, 3, 4, 6, 8)
_DARK_AIR = 0.4
_CENTERED = 0.1
_EVEN_SPREAD, _LEAST_SPREAD = 0.06, 0.04
_UNSURE = 0.25
_LOWER, _HIGHER, _LOW_END = 0.75, 1.03, 1 / 3
_AIR_OFF, _AIR_OFF_COMPLEX = (0.1, 2.0), (0.05, 1.5)  # least share, and errors of the object's level
_AIR_OFF_FILTERED = (0.2, 2.0)  # a taper that is found too flat makes the level in the object too high
_HIDDEN = "anatomy hides the noise"
_AIR_RANGE, _COILS_RANGE = (0.75, 1.1), (0.85, 1.15)
_LEAST_TOLD = 1e-6  # of the largest value

Spectra = tuple[AxisSpectrum, AxisSpectrum, AxisSpectrum]


@dataclass(frozen=True, eq=False)
class KnownNoise:
    """What is known of a series' noise before the image is looked at.

    Attributes:
        level: standard deviation per component, where the map is 1.
        gmap: relative map ``(Z, T, H, W)``, each axis of the image's size or 1.
        noise_map: absolute map in the units of the image, with the same axes; it replaces level and ``gmap``.
        spectrum: of ``(T, H, W)``.
        matrix: rows and columns that were acquired by the header, None where it does not say: a hint.
        is_constant: whether the level is the same everywhere, so that no map is looked for.
    """

    level: float | None = None
    gmap: Tensor | None = None
    noise_map: Tensor | None = None
    spectrum: Spectra | None = None
    matrix: tuple[int | None, int | None] = (None, None)
    is_constant: bool = False


def bring_image(image: Tensor, model: NoiseModel, dims: Sequence[int] = (-2, -1)) -> Tensor:
    """Bring an image ``(..., C, T, H, W)`` in its own units to the acquired matrix.

    The noise of complex images becomes white. Magnitudes are brought without whitening: a taper changes their mean,
    by which the bias of the noise is told from signal.

    Args:
        image: C = 1 for magnitudes, 2 for real and imaginary part.
        model: its noise.
        dims: the axes to bring, the last ones: along rows and columns, or along frames as well.
    """
    spectra = model.spectrum[-len(dims) :]
    if model.kind != "complex":
        is_there = not _is_band_limited(spectra)
        return image if is_there else to_acquired(image, [axis.bare() for axis in spectra], dims)
    turned = demodulate(channels_to_complex(image, -4), model.echo_shift)
    return complex_to_channels(to_acquired(turned, spectra, dims), -4)


def estimate_noise_model(image: Tensor, known: KnownNoise | None = None, is_volume: bool = False) -> NoiseModel:
    """Estimate the noise of a series.

    Args:
        image: ``(Z, C, T, H, W)`` in any units, C = 1 for magnitudes, 2 for real and imaginary part.
        known: what is known of it.
        is_volume: whether T is depth.

    Returns:
        The model. What is not sure is left at the simpler choice, which its origin says.

    Raises:
        NoiseLevelError: when the image is empty, constant, or not finite, or has no noise to estimate; or when a known
            level cannot be in its units.
        NoiseModelError: when what is known does not fit the image.
    """
    known = known or KnownNoise()
    shape = (image.shape[0], *image.shape[2:])
    for given in (known.gmap, known.noise_map):
        if given is not None:
            check_noise_map(given, shape)
    image = image.float()
    _check_told(image, known)
    simple = _simple_level(image, known)
    shift = exact = (0.0, 0.0)
    if image.shape[1] == 2:
        exact = echo_shift(channels_to_complex(image, 1))
        shift = (float(round(exact[0])), float(round(exact[1])))
        image = complex_to_channels(demodulate(channels_to_complex(image, 1), shift), 1)
    air = _air(image, known, simple)
    spectrum, spectrum_origin = _spectrum(image, known, air.level, is_volume)
    if image.shape[1] == 2 and not _is_band_limited(spectrum):
        shift = exact if max(abs(exact[0]), abs(exact[1])) > _CENTERED else (0.0, 0.0)
    origins = {"spectrum": spectrum_origin, "map": Origin("told" if known.gmap is not None else "nothing found", 0.9)}
    noise_map, level = known.gmap, simple.sigma
    if known.noise_map is not None:
        level = float(known.noise_map.median())
        noise_map, origins["level"], origins["map"] = known.noise_map / level, Origin("told"), Origin("told")
    elif known.level is not None or simple.method == "floor":
        told = known.level is not None
        origins["level"] = Origin("told") if told else Origin("floor", 0.5)
        air = air if not told or _fits(air, level) else _Air()
    else:
        field, air = _field_and_air(image, known, spectrum, air, is_volume)
        floor = noise_floor(image_magnitude(image, 1))
        if field is not None and field.level < floor and not air.level:
            simple, field = NoiseEstimate(floor, "floor", 0.0), None
        level, noise_map, found = _decide(
            field, known, simple, air.level, is_white=not _is_band_limited(spectrum), is_complex=image.shape[1] == 2
        )
        origins |= found
    kind: NoiseKind = "complex" if image.shape[1] == 2 else "chi" if air.num_coils > 1 else "rician"
    origins["kind"] = Origin("air", 0.9) if air.level else Origin("assumed", 0.5)
    return NoiseModel(level, kind, spectrum, air.num_coils, noise_map, shift, origins)


_SOURCES: dict[str, NoiseOrigin] = {"background": "air", "wavelet": "details", "temporal": "frames", "floor": "floor"}


def _check_told(image: Tensor, known: KnownNoise) -> None:
    """Refuse a level in other units than the image: as large as its largest value, or nothing beside it."""
    if known.level is None:
        return
    largest = float(image.abs().max())
    if not _LEAST_TOLD * largest < known.level < largest:
        raise NoiseLevelError(
            f"The noise level is told as {known.level:g}, but the values of the image go up to {largest:g}. Give the "
            "standard deviation per component in the units of the file."
        )


def _simple_level(image: Tensor, known: KnownNoise) -> NoiseEstimate:
    """The level of white noise, which is also what a constant or not finite image is refused by."""
    if known.noise_map is not None:
        return NoiseEstimate(float(known.noise_map.median()), "background", 0.0)
    if known.level is not None:
        return NoiseEstimate(known.level, "background", 0.0)
    return estimate_noise_level(image, 1, None if known.gmap is None else known.gmap[:, None])


@dataclass(frozen=True)
class _Air:
    """Noise level by air, 0 where there is none, and the number of coils by the distribution of magnitudes there."""

    level: float = 0.0
    num_coils: int = 1


def _air(image: Tensor, known: KnownNoise, simple: NoiseEstimate) -> _Air:
    magnitude = image_magnitude(image, 1)
    if known.gmap is not None:
        magnitude = magnitude / known.gmap[:, None]
    if known.level is not None or known.noise_map is not None:
        level, _ = background_noise_level(magnitude)
    else:
        level = simple.sigma if simple.method == "background" else 0.0
    if image.shape[1] == 2 or level > 0:
        return _Air(level)
    found = [(*background_noise_level(magnitude, coils), coils) for coils in _COILS]
    level, share, coils = max(found, key=lambda one: one[1])
    dark = level * (2 * coils) ** 0.5 < _DARK_AIR * float(np.quantile(magnitude.numpy(), 0.95))
    return _Air(level, coils) if share > 0.02 and dark else _Air()


def _fits(air: _Air, level: float) -> bool:
    """Whether air has no more noise than the object; weak tissue, which can look like air, seems to have more.

    Several coils are believed only where air and object say the same.
    """
    least, most = _AIR_RANGE if air.num_coils == 1 else _COILS_RANGE
    return least < air.level / level < most


def _field_and_air(
    image: Tensor, known: KnownNoise, spectrum: Spectra, air: _Air, is_volume: bool
) -> tuple[NoiseField | None, _Air]:
    """Noise levels over the image, and air as far as they leave it as an explanation."""
    if image.shape[1] == 2:
        field = _field(image, known, NoiseModel(1.0, "complex", spectrum), is_volume)
        return field, air if field is None or not air.level or _fits(air, field.level) else _Air()
    for one in (air, _Air()):
        kind: NoiseKind = "chi" if one.num_coils > 1 else "rician"
        field = _field(image, known, NoiseModel(1.0, kind, spectrum, one.num_coils), is_volume)
        seen = field is not None and (one.num_coils == 1 or field.error < _UNSURE)
        if field is None or not one.level or (seen and _fits(one, field.level)):
            return field, one
        if one.num_coils == 1:
            break
    return field, _Air()


def _is_band_limited(spectrum: Sequence[AxisSpectrum]) -> bool:
    return not all(axis.is_white for axis in spectrum)


def _spectrum(image: Tensor, known: KnownNoise, air: float, is_volume: bool) -> tuple[Spectra, Origin]:
    if known.spectrum is not None:
        return known.spectrum, Origin("told")
    reference = known.level or air or None
    found, certainty = estimate_spectrum(image, reference, is_volume, known.matrix)
    said = [(axis.acquired, n) for axis, n in zip(found[1:], known.matrix, strict=True) if n is not None]
    remark = ""
    if any(abs(have - n) > 2 for have, n in said):
        have = " x ".join(str(axis.acquired) for axis in found[1:])
        remark = f"the header says {' x '.join(str(n) for _, n in said)}, the image {have}"
        logger.info("acquired matrix: %s; the image decides", remark)
    elif said and _is_band_limited(found):
        certainty = 1.0
    source: NoiseOrigin = "spectrum" if _is_band_limited(found) else "nothing found"
    return (found[0], found[1], found[2]), Origin(source, certainty, remark)


def _field(image: Tensor, known: KnownNoise, model: NoiseModel, is_volume: bool) -> NoiseField | None:
    """Noise levels over the image."""
    if known.gmap is not None:
        image = image / known.gmap[:, None]
    rows, columns = model.spectrum[1:]
    if model.kind == "complex":  # whose noise is white once it is there
        rows, columns = AxisSpectrum(rows.acquired), AxisSpectrum(columns.acquired)
    brought = bring_image(image, model)
    if model.spectrum[0].is_white:
        return estimate_noise_field(brought, (rows, columns), is_volume, model.num_coils)
    apart = brought.transpose(1, 2).flatten(0, 1)[:, :, None]  # neighbors share noise: one by one
    field = estimate_noise_field(apart, (rows, columns), num_coils=model.num_coils)
    return field and replace(field, field=field.field.unflatten(0, (len(image), -1))[:, :, 0])


def _decide(
    field: NoiseField | None,
    known: KnownNoise,
    simple: NoiseEstimate,
    air: float,
    *,
    is_white: bool,
    is_complex: bool,
) -> tuple[float, Tensor | None, dict[str, Origin]]:
    """Level and map, by levels over the image, that of air and that of white noise.

    Air decides where there is no map and it says about the same as the object, of whose level complex images are surer.
    The less sure it is, the lower an end of what the level may be is taken: too much smoothing is the worse error.
    Anatomy can only raise the level of white noise that is the same everywhere, so the usual estimate holds where it is
    the lower one, or both agree.
    """
    if field is None:
        level = air if air else simple.sigma
        return level, known.gmap, {"level": Origin("air" if air else _SOURCES[simple.method], 0.5)}
    unsure = field.error > _UNSURE
    details = Origin("details", float(np.clip(1 - 2 * field.error, 0.1, 0.95)), _HIDDEN if unsure else "")
    share, errors = (_AIR_OFF_COMPLEX if is_complex else _AIR_OFF) if is_white else _AIR_OFF_FILTERED
    same = air > field.level * (1 - max(share, errors * field.error))
    if air and (unsure or (same and field.spread <= _EVEN_SPREAD)):
        return air, known.gmap, {"level": Origin("air", 0.6 if unsure else 0.95)}
    level = field.level * float(np.exp(-field.error * (1 if unsure else _LOW_END)))
    if field.spread > max(_LEAST_SPREAD, field.error / 2) and not known.is_constant and known.gmap is None:
        return level, field.field / field.level, {"level": details, "map": Origin("details", details.certainty)}
    if is_white and simple.method != "background" and _LOWER * level < simple.sigma < _HIGHER * level:
        return simple.sigma, known.gmap, {"level": Origin(_SOURCES[simple.method], details.certainty)}
    return level, known.gmap, {"level": details}
