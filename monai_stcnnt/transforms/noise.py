# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Random phase and random MR noise for training clips ``(C, T, H, W)``.

A transform draws everything in ``randomize`` from its own state ``R``; what it applies afterwards is deterministic,
so that the same seed gives the same noisy clip. The noise model stands in :mod:`monai_stcnnt.mri.noise`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection, NdarrayOrTensor
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform, Randomizable, RandomizableTransform, Transform
from monai.utils.enums import TransformBackends
from monai.utils.type_conversion import convert_to_dst_type, convert_to_tensor
from torch import Tensor

from monai_stcnnt.errors import NoiseLevelError
from monai_stcnnt.mri.channels import channels_to_complex, complex_to_channels, image_magnitude
from monai_stcnnt.mri.gfactor import check_gfactor_map, draw_gfactor_map
from monai_stcnnt.mri.noise import (
    ColoringStep,
    NoiseColoring,
    amplify_noise,
    color_noise,
    complex_noise,
    draw_coloring,
    filter_signal,
)
from monai_stcnnt.mri.phantom import smooth_phase
from monai_stcnnt.mri.rician import rician_mean
from monai_stcnnt.mri.snr import snr_scale
from monai_stcnnt.transforms.clip import RandClipd, as_clip

__all__ = [
    "RandMRNoise",
    "RandMRNoised",
    "RandSmoothPhase",
    "RandSmoothPhased",
]

_BACKEND = [TransformBackends.TORCH, TransformBackends.NUMPY]


class RandSmoothPhase(RandomizableTransform):
    """Give a magnitude clip a random smooth phase that drifts a little over its frames.

    ``(1, T, H, W)`` becomes ``(2, T, H, W)``, real and imaginary, float32; the magnitude stays what it was.

    Args:
        amplitude: standard deviation of the smooth part of the phase, in radians.
        ramp: standard deviation of the linear part along each axis, in radians from the center to the edge.
        drift: standard deviation of the part that changes over the frames, in radians.
        prob: probability of a phase; without one, the imaginary part is zero.
    """

    backend = _BACKEND

    def __init__(self, amplitude: float = 1.5, ramp: float = 2.0, drift: float = 0.2, prob: float = 1.0) -> None:
        RandomizableTransform.__init__(self, prob)
        self.amplitude = amplitude
        self.ramp = ramp
        self.drift = drift
        self._phase = torch.zeros(())

    def randomize(self, data: Sequence[int]) -> None:
        """Draw the phase of a clip of size ``data = (T, H, W)``."""
        super().randomize(None)
        self._phase = torch.zeros(())
        if self._do_transform:
            self._phase = smooth_phase(self.R, data, self.amplitude, self.ramp, self.drift)

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """Turn ``(1, T, H, W)`` into ``(2, T, H, W)``, of the kind that was given (array, tensor, MetaTensor).

        Raises:
            LayoutError: when the clip is not a magnitude clip.
        """
        clip = as_clip(img, (1,))[0]
        if randomize:
            self.randomize(clip.shape)
        phase = self._phase.to(clip.device)
        return convert_to_dst_type(torch.stack((clip * phase.cos(), clip * phase.sin())), img, dtype=torch.float32)[0]


class RandSmoothPhased(RandClipd):
    """Dictionary form of :class:`RandSmoothPhase`; all keys get the same phase and have the same size.

    Args:
        keys: the magnitude clips ``(1, T, H, W)``.
        amplitude: see :class:`RandSmoothPhase`.
        ramp: see :class:`RandSmoothPhase`.
        drift: see :class:`RandSmoothPhase`.
        prob: see :class:`RandSmoothPhase`.
        allow_missing_keys: whether a missing key is accepted.
    """

    backend = RandSmoothPhase.backend

    def __init__(
        self,
        keys: KeysCollection,
        amplitude: float = 1.5,
        ramp: float = 2.0,
        drift: float = 0.2,
        prob: float = 1.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, RandSmoothPhase(amplitude, ramp, drift, prob), allow_missing_keys)


class RandMRNoise(Randomizable, Transform):
    r"""Bring a clip to a random SNR and add MR noise to it.

    The result is in SNR units: noise of standard deviation 1 per real and imaginary component, times the g-factor
    map where there is one. The SNR is the clean mean magnitude over the foreground (where it exceeds a tenth of its
    99th percentile), before g-factor amplification, and :math:`\log \mathrm{SNR} \sim \mathcal{U}(\log a, \log b)`.

    Args:
        snr_range: the interval ``(a, b)`` of the SNR.
        mode: ``"complex"`` gives two channels, ``"magnitude"`` gives the magnitudes of the noisy and the clean clip.
            Magnitude mode also takes clips with one channel, as images of phase zero.
        gfactor_prob: probability that a random g-factor map amplifies the noise.
        acceleration_range: smallest and largest total acceleration of the random maps.
        coloring_prob: probability of every step that colors the noise (``gaussian``, ``partial_fourier``,
            ``resolution``, ``zero_filling``, ``temporal``): one number for all, or a mapping that leaves out what is
            not named.
        filter_signal_prob: probability that the clean clip passes the same k-space steps as the noise, as in a
            scanner; otherwise it keeps its resolution.
        clean_prob: probability that no noise is added, so that a network learns to leave alone what is clean. A
            magnitude is then the mean of what it would be with noise.

    Raises:
        NoiseLevelError: when ``snr_range`` is not an interval of positive numbers.
        ValueError: when the mode or a coloring step is unknown or a probability is not within 0 and 1.
    """

    backend = _BACKEND

    def __init__(
        self,
        snr_range: tuple[float, float] = (0.5, 30.0),
        mode: Literal["complex", "magnitude"] = "complex",
        gfactor_prob: float = 0.5,
        acceleration_range: tuple[int, int] = (2, 6),
        coloring_prob: float | Mapping[ColoringStep, float] = 0.25,
        filter_signal_prob: float = 0.0,
        clean_prob: float = 0.0,
    ) -> None:
        if not 0 < snr_range[0] <= snr_range[1] < float("inf"):
            raise NoiseLevelError(f"snr_range is {tuple(snr_range)}. Give two positive numbers, the smaller one first.")
        if mode not in ("complex", "magnitude"):
            raise ValueError(f"mode is {mode!r}. Choose 'complex' or 'magnitude'.")
        self.snr_range = (float(snr_range[0]), float(snr_range[1]))
        self.mode = mode
        self.gfactor_prob = gfactor_prob
        self.acceleration_range = (int(acceleration_range[0]), int(acceleration_range[1]))
        steps: Mapping[ColoringStep, float] = (
            coloring_prob
            if isinstance(coloring_prob, Mapping)
            else dict.fromkeys(get_args(ColoringStep), float(coloring_prob))
        )
        draw_coloring(np.random.RandomState(0), steps)  # refuses what it does not know, before any data comes
        self.coloring_prob = dict(steps)
        if not 0 <= clean_prob <= 1:
            raise ValueError(f"clean_prob is {clean_prob}. Give a probability, from 0 to 1.")
        self.filter_signal_prob = filter_signal_prob
        self.clean_prob = clean_prob
        self._snr = 1.0
        self._gmap: Tensor | None = None
        self._coloring = NoiseColoring()
        self._filter_signal = False
        self._is_clean = False
        self._seed = 0

    def randomize(self, data: Sequence[int]) -> None:
        """Draw SNR, g-factor map, coloring and noise of a clip of size ``data = (T, H, W)``."""
        low, high = np.log(self.snr_range)
        self._snr = float(np.exp(self.R.uniform(low, high)))
        has_gfactor = self.R.random_sample() < self.gfactor_prob
        self._gmap = draw_gfactor_map(self.R, data[-2:], self.acceleration_range) if has_gfactor else None
        self._coloring = draw_coloring(self.R, self.coloring_prob)
        self._filter_signal = bool(self.R.random_sample() < self.filter_signal_prob)
        self._seed = int(self.R.randint(2**31))
        self._is_clean = self.clean_prob > 0 and bool(self.R.random_sample() < self.clean_prob)

    def __call__(
        self,
        img: NdarrayOrTensor,
        reference: float | None = None,
        gmap: NdarrayOrTensor | None = None,
        randomize: bool = True,
    ) -> tuple[NdarrayOrTensor, NdarrayOrTensor, NdarrayOrTensor]:
        """Add noise to a clip.

        Args:
            img: clip ``(2, T, H, W)`` in any units; in magnitude mode also ``(1, T, H, W)``.
            reference: amplitude that the SNR refers to, in the units of ``img``: the foreground mean of the whole
                series for a crop of it, which may be nearly empty. Default: the foreground mean of the clip.
            gmap: g-factor map that broadcasts to ``(1, T, H, W)``, instead of a random one.
            randomize: whether to draw new values; otherwise the last ones are applied again.

        Returns:
            Noisy clip, clean clip, both ``(C, T, H, W)`` with two channels (complex mode) or one (magnitude mode), and
            g-factor map ``(1, T, H, W)``, float32, of the kind that was given.

        Raises:
            LayoutError: when the clip does not have the right axes or channels.
            GFactorMapError: when the given map does not fit or is not positive.
        """
        clip = as_clip(img, (2,) if self.mode == "complex" else (1, 2))
        if randomize:
            self.randomize(clip.shape[1:])
        amplification = self._amplification(clip, gmap)
        clean = channels_to_complex(clip) if clip.shape[0] == 2 else torch.complex(clip[0], torch.zeros_like(clip[0]))
        clean = clean * snr_scale(clean.abs(), self._snr, reference)
        if self._filter_signal:
            clean = filter_signal(clean, self._coloring)
        results = [complex_to_channels(self._with_noise(clean, amplification)), complex_to_channels(clean)]
        if self.mode == "magnitude":
            results = [image_magnitude(result) for result in results]
            if self._is_clean:
                means = rician_mean((results[1] / amplification).cpu().numpy())
                results[0] = torch.as_tensor(means).to(results[1]) * amplification
        noisy_out, clean_out, map_out = (
            convert_to_dst_type(r, img, dtype=torch.float32)[0] for r in (*results, amplification)
        )
        return noisy_out, clean_out, map_out

    def _with_noise(self, clean: Tensor, amplification: Tensor) -> Tensor:
        """Add the noise of the last draw to a complex clip."""
        if self._is_clean:
            return clean
        noise = complex_noise(clean.shape, torch.Generator().manual_seed(self._seed))
        return clean + amplify_noise(color_noise(noise, self._coloring), amplification[0]).to(clean.device)

    def _amplification(self, clip: Tensor, gmap: NdarrayOrTensor | None) -> Tensor:
        """Return the g-factor map that applies to this clip, ``(1, T, H, W)``."""
        shape = (1, *clip.shape[1:])
        if gmap is not None:
            given = convert_to_tensor(gmap, dtype=torch.float32, track_meta=False, device=clip.device)
            return check_gfactor_map(given, shape).expand(shape).clone()
        if self._gmap is None:
            return torch.ones(shape, device=clip.device)
        return self._gmap.to(clip.device).expand(shape).clone()


class RandMRNoised(MapTransform, Randomizable):
    """Dictionary form of :class:`RandMRNoise`: noisy image, clean label and g-factor map from one clean clip.

    Args:
        keys: the clean clip; it is replaced by the noisy one. One key.
        label_key: where the clean clip goes, in the same units.
        gmap_key: where the g-factor map ``(1, T, H, W)`` goes. A map that is already there is used instead of a
            random one.
        reference_key: entry, or metadata entry of the clip, that holds the amplitude which the SNR refers to; the
            clip's own foreground mean where there is none.
        snr_range: see :class:`RandMRNoise`.
        mode: see :class:`RandMRNoise`.
        gfactor_prob: see :class:`RandMRNoise`.
        acceleration_range: see :class:`RandMRNoise`.
        coloring_prob: see :class:`RandMRNoise`.
        filter_signal_prob: see :class:`RandMRNoise`.
        clean_prob: see :class:`RandMRNoise`.
        allow_missing_keys: whether a missing key is accepted.

    Raises:
        ValueError: when there is more than one key.
    """

    backend = RandMRNoise.backend

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        gmap_key: str = "gmap",
        reference_key: str = "reference",
        snr_range: tuple[float, float] = (0.5, 30.0),
        mode: Literal["complex", "magnitude"] = "complex",
        gfactor_prob: float = 0.5,
        acceleration_range: tuple[int, int] = (2, 6),
        coloring_prob: float | Mapping[ColoringStep, float] = 0.25,
        filter_signal_prob: float = 0.0,
        clean_prob: float = 0.0,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        if len(self.keys) != 1:
            raise ValueError(
                f"keys is {self.keys}; RandMRNoised takes one key, since it writes one {label_key!r} and {gmap_key!r}."
            )
        self.label_key = label_key
        self.gmap_key = gmap_key
        self.reference_key = reference_key
        self.mr_noise = RandMRNoise(
            snr_range, mode, gfactor_prob, acceleration_range, coloring_prob, filter_signal_prob, clean_prob
        )

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandMRNoised:
        """Set the state that everything is drawn from."""
        super().set_random_state(seed, state)
        self.mr_noise.set_random_state(seed, state)
        return self

    def randomize(self, data: Sequence[int]) -> None:
        """Draw for a clip of size ``data = (T, H, W)``."""
        self.mr_noise.randomize(data)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the clean clip by a noisy one, and add the label and the g-factor map."""
        d = dict(data)
        for key in self.key_iterator(d):
            image = d[key]
            d[key], d[self.label_key], d[self.gmap_key] = self.mr_noise(
                image, self._reference(d, image), d.get(self.gmap_key)
            )
        return d

    def _reference(self, d: Mapping[Hashable, Any], image: NdarrayOrTensor) -> float | None:
        value = d.get(self.reference_key)
        if value is None and isinstance(image, MetaTensor) and get_track_meta():
            value = image.meta.get(self.reference_key)
        return None if value is None else float(value)
