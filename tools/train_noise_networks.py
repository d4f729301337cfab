# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Train the two small networks that tell the band and the level of noise, on simulated noise.

``python tools/train_noise_networks.py DATA`` draws anatomy from label maps (of any contrast, with texture), scans that
no benchmark of the noise uses, most of them brought to half of their matrix so that little of their own noise is left,
the drawn heart, even shapes, and repeats of one image; adds noise with drawn supports, tapers, maps, coils, phases and
an SNR from 1.5 to 35 (150 of repeats); and writes ``monai_stcnnt/mri/weights/noise_networks.npz``, the weights in the
package. The network of levels is trained on images that were brought to the acquired matrix, magnitudes by the bands
that the other finds, complex images by the spectrum that is found in them.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn.functional import interpolate

from monai_stcnnt.mri.axis_spectrum import AxisSpectrum
from monai_stcnnt.mri.channels import complex_to_channels
from monai_stcnnt.mri.fft import fftc, ifftc, resize_matrix
from monai_stcnnt.mri.gfactor import draw_gfactor_map
from monai_stcnnt.mri.noise import complex_noise
from monai_stcnnt.mri.noise_level import background_noise_level
from monai_stcnnt.mri.noise_map import LevelNet, block_features, block_size, blocks
from monai_stcnnt.mri.noise_model import demodulate, echo_shift, from_acquired, to_acquired
from monai_stcnnt.mri.phantom import cine_phantom, smooth_field, smooth_phase
from monai_stcnnt.mri.snr import foreground_mean
from monai_stcnnt.mri.spectra.band import BandNet, band_of, trained
from monai_stcnnt.mri.spectra.estimation import estimate_spectrum
from monai_stcnnt.mri.spectra.profiles import band_profiles

logger = logging.getLogger("train_noise_networks")

LABELS = "synthseg_labels_train/*.nii.gz"
SCANS = {
    "ms_lesions_train/patient01/*w.nii.gz": 2,
    "ms_lesions_train/patient01/flair.nii.gz": 2,
    "ms_lesions_train/patient04/t1w.nii.gz": 2,
    "ms_lesions_train/patient04/flair.nii.gz": 2,
    "ms_lesions_train/patient09/flair.nii.gz": 2,
    "brain_t1_studyforrest/t1_crop_0p67mm.nii.gz": 2,
    "cine_sunnybrook_train/patient005/patient005_4d.nii.gz": 2,
    "cine_sax_bivme/cine_sax.nii.gz": 2,
    "pyradiomics_brain1/image.nii.gz": 2,
    "brain_flair_torchio/fernando_t2flair.nii.gz": 2,
    "brain_t1_voxelmorph_aseg/t1.nii.gz": 2,
    "brain_t1_siemens_xa30_enhanced/ref_nonorm.nii.gz": 1.5,
    "phantom_philips_cs/*.nii*": 2,
    "abdomen_mr_totalseg/mr.nii.gz": 1.3,
    "asl_philips_enhanced/ref.nii.gz": 1,
    "dicom_philips_classic_phantom/ref.nii.gz": 1,
}
"""Scans below the data folder, and by how much their matrix is reduced; series over time are averaged, not cines."""

SIZES = (48, 56, 64, 65, 72, 80, 88, 96, 97, 104, 112, 120, 128, 144)
_CUBIC = 100
_MOST_SNR, _MOST_OF_NOISY, _MOST_OF_DRAWN, _MOST_OF_REPEATS = 35.0, 9.0, 60.0, 150.0
_CINES = 3.0  # how often one is drawn for every other scan
_RATE = 2e-3
_DRAWS = 4
_BLUR, _LITTLE_BLUR = 0.15, 0.05
_FEWEST_BLOCKS = 8

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Case:
    """Simulated noise.

    Attributes:
        magnitude: ``(T, H, W)``.
        image: the complex image; None where it is of several coils, masked, or sampled in an ellipse.
        truth: magnitudes without noise.
        level: of the noise, ``(H, W)``.
        axes: spectrum along rows and columns.
        coils: that were added up.
        is_series: whether T is time.
    """

    magnitude: Tensor
    image: Tensor | None
    truth: Tensor
    level: Tensor
    axes: tuple[AxisSpectrum, AxisSpectrum]
    coils: int
    is_series: bool

    @property
    def is_volume(self) -> bool:
        """Whether T is depth."""
        return not self.is_series and len(self.magnitude) > 1


@lru_cache(maxsize=40)
def volume(path: Path) -> np.ndarray:
    """Values of a scan."""
    return np.asarray(nib.load(path).dataobj, dtype=np.float32)  # type: ignore[attr-defined]  # any spatial image


def shrink(clip: np.ndarray, factor: float) -> np.ndarray:
    """Keep the middle of k-space."""
    if factor <= 1:
        return clip
    size = [int(n / factor) for n in clip.shape[1:]]
    return (
        resize_matrix(torch.from_numpy(np.ascontiguousarray(clip)).to(torch.complex64), size, keep="signal")
        .abs()
        .numpy()
    )


def drawn_labels(data: Path, frames: int, rng: np.random.RandomState) -> np.ndarray:
    """Slices of a label map with a gray value for each label, perhaps few, and texture."""
    paths = sorted(data.glob(LABELS))
    labels = volume(paths[rng.randint(len(paths))])
    axis, step = rng.randint(3), int(rng.randint(1, 4))
    count = labels.shape[axis]
    first = rng.randint(int(0.2 * count), max(int(0.8 * count) - frames * step, int(0.2 * count) + 1))
    slices = np.moveaxis(np.take(labels, range(first, min(first + frames * step, count), step), axis=axis), axis, 0)
    slices = slices.astype(int).swapaxes(1, 2) if rng.rand() < 0.5 else slices.astype(int)
    known = np.unique(slices)
    table = np.zeros(known.max() + 1, np.float32)
    table[known] = rng.gamma(rng.uniform(1, 6), 1, len(known))
    if rng.rand() < 0.3:
        table[known] = np.digitize(table[known], np.quantile(table[known], [0.3, 0.6])) + 0.2
    table[0] = 0 if rng.rand() < 0.85 else table[0]
    image = table[slices]
    if rng.rand() < 0.7:
        width, strength = rng.uniform(0.6, 2.5), rng.uniform(0, 0.12)
        texture = gaussian_filter(
            rng.standard_normal(image.shape).astype(np.float32), (0.7 * rng.randint(2), width, width)
        )
        image = image * (1 + strength * texture / texture.std())
    return shrink(image, rng.uniform(0.6, 1.7))


def drawn_scan(data: Path, frames: int, rng: np.random.RandomState) -> tuple[np.ndarray, bool, float]:
    """Frames or slices of a scan, whether they are times, and up to which SNR their own noise does not count."""
    weight = np.array([_CINES if "cine" in name else 1.0 for name in SCANS])
    pattern = str(rng.choice(list(SCANS), p=weight / weight.sum()))
    paths = sorted(data.glob(pattern))
    values = np.abs(volume(paths[rng.randint(len(paths))]))
    is_cine = values.ndim == 4 and "cine" in pattern
    if is_cine:
        place, start = rng.randint(values.shape[2]), rng.randint(max(1, values.shape[3] - frames))
        image = np.moveaxis(values[:, :, place, start : start + frames], -1, 0)
    else:
        values = values.mean(-1) if values.ndim == 4 else values
        axis = rng.randint(3) if values.shape[2] > _CUBIC else 2
        count = values.shape[axis]
        frames = min(frames, max(1, count // 3))
        start = rng.randint(int(0.15 * count), max(int(0.85 * count) - frames, int(0.15 * count) + 1))
        image = np.moveaxis(np.take(values, range(start, min(start + frames, count)), axis=axis), axis, 0)
    share = rng.choice([0.6, 1, 1, 1.2])
    image = shrink(image, SCANS[pattern] * share)
    return image.swapaxes(1, 2) if rng.rand() < 0.5 else image, is_cine, _MOST_SNR if share >= 1 else _MOST_OF_NOISY


def drawn_shape(rng: np.random.RandomState) -> np.ndarray:
    """An even image or an ellipse, perhaps shaded, of any size."""
    frames = int(rng.choice([1, 1, 2, 4, 8, 12, 24]))
    height, width = (int(rng.choice([20, 24, 30, 36, 42, 48, 64, 80, 96, 128])) for _ in range(2))
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    image = np.ones((height, width))
    if rng.rand() < 0.3:
        image = ((y / rng.uniform(0.4, 0.9)) ** 2 + (x / rng.uniform(0.4, 0.9)) ** 2 < 1).astype(float)
    if rng.rand() < 0.5:
        image = image * np.exp(0.4 * smooth_field(rng, (height, width)).numpy())
    return np.repeat(image[None], frames, 0)


def drawn_repeats(image: np.ndarray, count: int, rng: np.random.RandomState) -> np.ndarray:
    """An image again and again, perhaps with the small shifts and smooth changes of brightness that a body makes."""
    frames = np.repeat(image[None], count, 0)
    if rng.rand() < 0.4:
        return frames
    turn = [2j * np.pi * np.fft.fftfreq(n)[:, None] for n in image.shape]
    sway = rng.standard_normal((2, count)) * np.exp(rng.uniform(np.log(0.001), np.log(0.03)))
    ways = [np.exp(part * way) for part, way in zip(turn, sway, strict=True)]
    kspace = np.fft.fft2(frames) * ways[0].T[:, :, None] * ways[1].T[:, None, :]
    strength = np.exp(rng.uniform(np.log(0.0003), np.log(0.01)))
    places = [smooth_field(rng, image.shape, control_points=6).numpy() for _ in range(3)]
    course = gaussian_filter(rng.standard_normal((3, count)), (0, rng.uniform(0, 2)))
    return np.abs(np.fft.ifft2(kspace)) * (1 + strength * np.tensordot(course.T, places, 1))


def drawn_anatomy(data: Path, rng: np.random.RandomState) -> tuple[Tensor, bool, float]:
    """Magnitudes ``(T, H, W)`` without noise, whether T is time, and up to which SNR they count as such."""
    frames, what = int(rng.choice([1, 1, 2, 4, 6, 8, 8, 12])), rng.rand()
    is_series, most = False, _MOST_SNR
    if rng.rand() < 0.1:
        return torch.from_numpy(drawn_shape(rng)).float(), bool(rng.rand() < 0.7), most
    if what < 0.5:
        image, most = drawn_labels(data, frames, rng), _MOST_OF_DRAWN
    elif what < 0.95:
        image, is_series, most = drawn_scan(data, frames, rng)
    else:
        image, is_series = (
            cine_phantom((frames, 96, 96), np.random.RandomState(rng.randint(10**6))).image.abs().numpy(),
            True,
        )
    if rng.rand() < 0.25 and not is_series:
        image, is_series, most = drawn_repeats(image[0], max(frames, 2), rng), True, _MOST_OF_REPEATS
    for dim in (1, 2):
        short = max(SIZES[0] - image.shape[dim], 0)
        image = np.pad(image, [(short // 2, short - short // 2) if d == dim else (0, 0) for d in range(3)])
        fitting = [n for n in SIZES if n <= image.shape[dim]]
        size = fitting[-1 - min(int(rng.geometric(0.4)) - 1, len(fitting) - 1)]
        rest = image.shape[dim] - size
        start = rng.randint(rest + 1) if rng.rand() < 0.5 else rest // 2
        image = np.take(image, range(start, start + size), axis=dim)
    return torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)), is_series, most


def drawn_taper(count: int, rng: np.random.RandomState) -> np.ndarray:
    """Even, a raised cosine, a Gaussian, or a Fermi function."""
    what, place = rng.rand(), np.abs(np.arange(count) - count // 2) / (count / 2)
    rim, start = np.exp(rng.uniform(np.log(0.15), 0)), rng.uniform(0, 0.8)
    if what < 0.35:
        return np.ones(count)
    if what < 0.8:
        return rim + (1 - rim) / 2 * (1 + np.cos(np.pi * np.clip((place - start) / (1 - start), 0, 1)))
    if what < 0.9:
        return rim ** (place**2)
    return np.clip(1 / (1 + np.exp((place - rng.uniform(0.8, 1.0)) / rng.uniform(0.02, 0.08))), 0.05, 1)


def drawn_axes(size: Sequence[int], rng: np.random.RandomState) -> tuple[AxisSpectrum, AxisSpectrum]:
    """Both axes zero-filled, one, none, or tapered or sampled in part."""
    mode, which = rng.choice(["both", "one", "none", "other"], p=[0.45, 0.2, 0.22, 0.13]), rng.randint(2)
    axes = []
    for dim, length in enumerate(size):
        acquired = length
        if mode == "both" or (mode == "one" and dim == which):
            acquired = min(round(rng.uniform(0.42, 0.96) * length), length - 2)
        elif mode == "none" or (mode == "one" and rng.rand() > 0.2):
            axes.append(AxisSpectrum(length))
            continue
        plain, weights = AxisSpectrum.of_matrix(length, acquired), drawn_taper(acquired, rng)
        if mode == "other" and dim == which and rng.rand() < 0.4:
            weights[: int(length * rng.uniform(0.1, 0.35))] = 0
        axes.append(AxisSpectrum(length, plain.start, plain.stop, tuple(weights) if weights.min() < 0.999 else ()))
    return axes[0], axes[1]


def drawn_cases(data: Path, seed: int) -> Iterator[Case]:
    """Some cases of one anatomy; none where the drawn part of a scan is empty."""
    rng, generator = np.random.RandomState(seed), torch.Generator().manual_seed(seed)
    clip, is_series, most = drawn_anatomy(data, rng)
    for _ in range(_DRAWS if foreground_mean(clip) > 0 else 0):
        yield drawn_case(clip, is_series, most, rng, generator)


def drawn_case(
    clip: Tensor, is_series: bool, most: float, rng: np.random.RandomState, generator: torch.Generator
) -> Case:
    """Noise on magnitudes ``(T, H, W)``, at an SNR of up to ``most``."""
    size = clip.shape[1:]
    axes = drawn_axes(size, rng)
    phase = smooth_phase(rng, tuple(clip.shape), amplitude=rng.uniform(0, 2.5), ramp=rng.uniform(0, 3.5))
    clean = from_acquired(to_acquired(torch.polar(clip, phase), axes), axes)
    snr = float(np.exp(rng.uniform(np.log(1.5), np.log(most))))
    clean = clean * (snr / foreground_mean(clean.abs()))
    gmap = draw_gfactor_map(rng, size, (2, 4)) if rng.rand() < 0.5 else torch.ones(*size)
    bias = torch.exp(0.3 * smooth_field(rng, tuple(size))).float() if rng.rand() < 0.2 else torch.ones(*size)
    acquired = [axis.acquired for axis in axes]
    coarse = interpolate(gmap[None, None], acquired, mode="bilinear", align_corners=False)[0, 0]
    coils = int(rng.choice([2, 3, 4, 6, 8])) if rng.rand() < 0.08 else 1
    images = [
        clean / coils**0.5 + from_acquired(complex_noise((len(clip), *acquired), generator) * coarse, axes)
        for _ in range(coils)
    ]
    is_whole = coils == 1
    if rng.rand() < 0.12:
        y, x = ((torch.arange(a.size) - a.size // 2) / (a.acquired / 2) for a in axes)
        inside = (y[:, None] ** 2 + x**2 <= 1.02) * (4 / np.pi) ** 0.5
        images, is_whole = [ifftc(fftc(one, (-2, -1)) * inside, (-2, -1)) for one in images], False
    magnitude = torch.linalg.vector_norm(torch.stack(images).abs(), dim=0) * bias
    if rng.rand() < 0.15:
        magnitude, is_whole = magnitude * (clean.abs() > 0.1 * snr), False
    if rng.rand() < 0.2:
        step = rng.uniform(0.15, 1)
        magnitude = (magnitude / step).round() * step
    return Case(magnitude, images[0] * bias if is_whole else None, clean.abs(), gmap * bias, axes, coils, is_series)


Profiles = tuple[Tensor, Tensor, Tensor]
"""Profiles along an axis; the width of its band, 0 where it fills the axis; decades of power in it."""


def profiles_of(case: Case) -> Iterator[Profiles]:
    """What the network of bands learns from."""
    for profiles, axis in zip(band_profiles(case.magnitude[None]), case.axes, strict=True):
        half, power = axis.size // 2, axis.weights().square()
        outwards = torch.arange(1, half + 1)
        fall = (power[(half + outwards) % axis.size] + power[half - outwards]) / 2 / power[half]
        yield profiles.half(), torch.tensor(axis.acquired % axis.size), torch.log10(fall.clamp(min=1e-2))


Grids = tuple[Tensor, Tensor, Tensor, Tensor]
"""Features of blocks, which of them are valid, which show the object, and their levels beside the reference."""


def grids_of(case: Case, net: BandNet) -> Iterator[Grids]:
    """What the network of levels learns from: the image on the acquired matrix, as it is found."""
    profiles = band_profiles(case.magnitude[None])
    found = [_found(net, one, axis.size) for one, axis in zip(profiles, case.axes, strict=True)]
    brought = [(to_acquired(case.magnitude, [axis.bare() for axis in found])[None, None], found)]
    if case.image is not None:
        image = _white_as_found(case.image, case.is_volume)
        brought.append((image, [AxisSpectrum(n) for n in image.shape[3:]]))
    for image, axes in brought:
        if min(image.shape[3:]) < 18:
            continue
        features, valid, reference = block_features(image, axes, case.is_volume, case.coils)
        size, block = image.shape[2:], block_size(image.shape[2:], case.is_volume)
        level = interpolate(case.level[None, None], size[1:], mode="bilinear", align_corners=False)
        logs = blocks(level[:, :, None].expand(1, 1, *size).log(), *block).mean(-1).flatten(0, 1)
        truth = interpolate(case.truth[None], size[1:], mode="bilinear")[None]
        bright = blocks(truth, *block).mean(-1).flatten(0, 1) > 0.1 * foreground_mean(case.truth)
        yield from zip(features.half(), valid.flatten(0, 1), bright, logs - reference, strict=True)


def _white_as_found(image: Tensor, is_volume: bool) -> Tensor:
    """A complex image ``(T, H, W)`` on the acquired matrix as ``(1, 2, T, H, W)``, by the taper that is found."""
    shift = [float(round(samples)) for samples in echo_shift(image[None])]
    turned = demodulate(image, shift)
    air, _ = background_noise_level(image.abs())
    spectra, _ = estimate_spectrum(complex_to_channels(turned, 0)[None], air or None, is_volume)
    return complex_to_channels(to_acquired(turned, spectra[1:]), 0)[None]


def _found(net: BandNet, profiles: Tensor, size: int) -> AxisSpectrum:
    with torch.no_grad():
        band = band_of(net, profiles, size)
    plain = AxisSpectrum.of_matrix(size, band.acquired)
    return AxisSpectrum(size, plain.start, plain.stop, band.taper)


def band_loss(net: nn.Module, profiles: Tensor, width: Tensor, fall: Tensor) -> Tensor:
    """Cross entropy of the width, and the error of the decades within the band, by blurred profiles."""
    profiles = profiles.float()
    logits, decades = net(profiles + _BLUR * torch.randn_like(profiles))
    classes = torch.arange(2, logits.shape[1] + 1)
    near = torch.exp(-2 * (classes - width[:, None]).square().float())
    near = near / near.sum(1, keepdim=True).clamp(min=1e-9) * (width > 0)[:, None]
    target = torch.cat([near, (width == 0).float()[:, None]], 1)
    place = torch.arange(1, profiles.shape[-1] + 1)
    inside = (place < width[:, None] / 2 - 1) | (width == 0)[:, None]
    error = ((decades - fall).abs() * inside).sum() / inside.sum().clamp(min=1)
    return -(target * logits.log_softmax(1)).sum(1).mean() + 2 * error


def level_loss(net: nn.Module, features: Tensor, valid: Tensor, bright: Tensor, logs: Tensor) -> Tensor:
    """Likelihood of the levels' logarithms, whose errors are distributed as Laplace's; the object counts most."""
    if float(torch.rand(())) < 0.5:
        features, valid, bright, logs = (part.flip(-1) for part in (features, valid, bright, logs))
    features = features.float()
    found, doubt = net(features + _LITTLE_BLUR * torch.randn_like(features), valid)
    weight = valid * torch.where(bright, 1.0, 0.3)
    error = (found - logs.clamp(-3, 3)).abs()
    return ((error / doubt.exp() + doubt) * weight).sum() / weight.sum().clamp(min=1)


def train(
    net: Network, loss_of: Callable[..., Tensor], samples: Sequence[Sequence[Tensor]], batch: int, steps: int
) -> Network:
    """Minimize a loss over samples, of which those of one shape are taken together."""
    shapes: dict[torch.Size, list[Sequence[Tensor]]] = defaultdict(list)
    for sample in samples:
        shapes[sample[0].shape].append(sample)
    groups = [[torch.stack(parts) for parts in zip(*group, strict=True)] for group in shapes.values()]
    share = torch.tensor([float(len(group[0])) for group in groups])
    optimizer = torch.optim.AdamW(net.parameters(), _RATE, weight_decay=1e-3)
    mean = 0.0
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = _RATE * (1 - step / steps) + 1e-5
        group = groups[int(torch.multinomial(share, 1))]
        chosen = torch.randint(len(group[0]), (batch,))
        loss = loss_of(net, *(part[chosen] for part in group))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        mean = 0.99 * mean + 0.01 * float(loss.detach())
        if step % 1000 == 999:
            logger.info("%s, step %d: %.3f", type(net).__name__, step + 1, mean)
    return net.eval()


Arrays = tuple[np.ndarray, ...]


def sides_of(data: Path, seed: int) -> list[Arrays]:
    """Profiles of the cases of a seed."""
    return [arrays(side) for case in drawn_cases(data, seed) for side in profiles_of(case)]


def grids_by(net: BandNet, data: Path, seed: int) -> list[Arrays]:
    """Grids of the cases of a seed, with enough blocks to learn from."""
    grids = [grid for case in drawn_cases(data, seed) for grid in grids_of(case, net)]
    return [arrays(grid) for grid in grids if int(grid[1].sum()) >= _FEWEST_BLOCKS]


def arrays(sample: Sequence[Tensor]) -> Arrays:
    """Tensors in a form that goes from process to process without a file for each."""
    return tuple(part.numpy() for part in sample)


def simulated(of_seed: Callable[[int], list[Arrays]], seeds: range, workers: int) -> list[tuple[Tensor, ...]]:
    """What is learned from, of many seeds, simulated by several processes."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        parts = pool.map(of_seed, seeds, chunksize=20)
        return [tuple(torch.from_numpy(one) for one in sample) for part in parts for sample in part]


def main() -> None:
    """Simulate, train, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the sample data")
    parser.add_argument("--images", type=int, nargs=2, default=(5000, 3000), help="without noise, for each network")
    parser.add_argument("--workers", type=int, default=2, help="processes that simulate")
    parser.add_argument("--steps", type=int, nargs=2, default=(18_000, 30_000), help="of training each")
    weights = Path(str(files("monai_stcnnt.mri"))) / "weights"
    parser.add_argument("--out", type=Path, default=weights / "noise_networks.npz")
    parser.add_argument("--keep-bands", action="store_true", help="train that of levels alone, with the other as it is")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the layers are so small that more cost time
    first, last = args.images[0], sum(args.images)
    if args.keep_bands:
        band = trained(BandNet(), "band")
    else:
        sides = simulated(partial(sides_of, args.data), range(first), args.workers)
        band = train(BandNet(), band_loss, sides, 32, args.steps[0])
    grids = simulated(partial(grids_by, band, args.data), range(first, last), args.workers)
    level = train(LevelNet(), level_loss, grids, 12, args.steps[1])
    saved: dict[str, np.ndarray] = {}
    for name, net in (("band", band), ("level", level)):
        saved |= {f"{name}.{key}": value.half().numpy() for key, value in net.state_dict().items()}
    np.savez_compressed(args.out, **saved)  # type: ignore[arg-type]  # names of arrays


if __name__ == "__main__":
    main()
