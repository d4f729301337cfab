# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Real noise: maps beside the standard deviation over repeats, and what is left in air at 0.055 T.

``python -m benchmarks.noise_of_repeats DATA --picture residuals.png`` estimates the noise of one repetition, compares
its map with the local standard deviation of the difference of two, denoises the patients at 0.055 T, tells the share of
the noise that is left in air; and draws one of them before, after, and what was removed.

The difference as it is holds what the heart, breathing and drift do as well, which is smooth. Its finest details
(second differences along rows and columns) are where thermal noise dominates: they are compared with the standard
deviation that details of noise with the map and the spectrum that were found have. Vessels and fluid pulsate in single
voxels, in details as well; the *typical* voxel of a neighborhood, by the median, does not. *Not thermal* is the share
of the difference's variance that its details do not explain so.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import correlate1d, gaussian_filter, median_filter, uniform_filter

from monai_stcnnt.apps import denoise
from monai_stcnnt.apps.noise import find_noise
from monai_stcnnt.apps.review.review import review_series
from monai_stcnnt.data import read_series
from monai_stcnnt.mri import AxisSpectrum

__all__ = ["main", "map_error"]

logger = logging.getLogger("noise_of_repeats")

_NEIGHBORHOOD = 9
PAIRS = tuple(f"ulf_0p055T_volunteers_phantom/volunteer_flair_{n}_2rep.nii.gz" for n in ("A_cage", "B_cage"))
SERIES = ("asl_pcasl2d_siemens/pcasl_2d.nii.gz", "fmri_studyforrest/bold_vol1-16.nii.gz", "spine_sct/fmri_30vol.nii.gz")
"""Two repetitions, whose phase is aligned; and series over time, of which every second volume is compared. The runs of
the GE scanner are not among them: the head moves out of some of their slices."""


def local_level(difference: np.ndarray, *, details: bool, typical: bool = False) -> np.ndarray:
    """Standard deviation per component around each voxel, of differences ``(X, Y, Z, n)`` of two repeats.

    Args:
        difference: real or complex.
        details: whether of second differences along X and Y.
        typical: whether that of the median voxel of the neighborhood, rather than the root mean square.
    """
    components = 2 if np.iscomplexobj(difference) else 1
    for axis in (0, 1) if details else ():
        difference = correlate1d(difference, np.array([1, -2, 1]) / 6**0.5, axis=axis)
    power = np.square(np.abs(difference)).mean(-1) / (2 * components)
    around = median_filter if typical else uniform_filter
    return np.sqrt(around(power, (_NEIGHBORHOOD, _NEIGHBORHOOD, 1)))


def typical_share(shape: tuple[int, ...], *, is_pair: bool) -> float:
    """What :func:`local_level` of the typical voxel is for white noise of level 1, of as many repeats."""
    rng = np.random.RandomState(0)
    noise = rng.standard_normal((64, 64, 1, shape[-1]))
    if is_pair:
        noise = noise + 1j * rng.standard_normal(noise.shape)
    return float(np.median(local_level(_differences(noise, is_pair=is_pair), details=True, typical=True)))


def _differences(repeats: np.ndarray, *, is_pair: bool) -> np.ndarray:
    return repeats[..., :1] - repeats[..., 1:] if is_pair else repeats[..., 2:] - repeats[..., :-2]


def share_of_details(spectra: Sequence[AxisSpectrum]) -> float:
    """Standard deviation of the finest details of noise with a spectrum of ``(H, W)``, beside that of the noise."""
    variance = 1.0
    for axis in spectra:
        power = np.square(axis.weights().double().numpy())
        turn = 2 * np.pi * (np.arange(axis.size) - axis.size // 2) / axis.size
        variance *= float((power * np.square(2 * np.cos(turn) - 2)).sum() / power.sum() / 6)
    return variance**0.5


def map_error(
    levels: np.ndarray, repeats: np.ndarray, spectra: Sequence[AxisSpectrum], *, is_pair: bool
) -> dict[str, float]:
    """How far a map of noise levels is off inside of the object.

    Args:
        levels: the map, ``(X, Y, Z)``.
        repeats: ``(X, Y, Z, n)``.
        spectra: of the noise along ``(H, W)``, which are Y and X.
        is_pair: whether they are complex and differ in phase.
    """
    if is_pair:
        product = repeats[..., 0] * repeats[..., 1].conj()
        smooth = [gaussian_filter(part, (4, 4, 0)) for part in (product.real, product.imag)]
        turn = np.exp(1j * np.arctan2(smooth[1], smooth[0]))
        repeats = np.stack((repeats[..., 0], repeats[..., 1] * turn), -1)
    difference = _differences(repeats, is_pair=is_pair)
    mean = np.abs(repeats).mean(-1)
    smooth_mean = gaussian_filter(mean, (2, 2, 0))
    inside = smooth_mean > 0.2 * np.quantile(smooth_mean, 0.99)
    share = share_of_details(spectra)
    whole, details = (local_level(difference, details=one)[inside] for one in (False, True))
    typical = local_level(difference, details=True, typical=True)[inside]
    typical = typical / typical_share(repeats.shape, is_pair=is_pair)
    out: dict[str, float] = {"not thermal": float(np.median(1 - np.square(details / share / whole)))}
    found = levels[inside]
    for name, ratio in (
        ("", found / whole),
        (" of details", found * share / details),
        (" of typical details", found * share / typical),
    ):
        out |= {
            f"median error{name}": float(np.median(np.abs(ratio - 1))),
            f"median ratio{name}": float(np.median(ratio)),
        }
    return out


def maps(data: Path) -> dict[str, dict[str, float]]:
    """Errors of the maps by scan."""
    out = {}
    for name in (*PAIRS, *SERIES):
        source = nib.Nifti1Image.from_filename(data / name)
        repeats = np.asarray(source.dataobj, dtype=np.complex64 if name in PAIRS else np.float32)
        with tempfile.TemporaryDirectory() as folder:
            scan = data / name
            if name in PAIRS:
                scan = Path(folder) / "first.nii"
                nib.save(nib.Nifti1Image(repeats[..., 0], source.affine), scan)
            [found] = find_noise(scan, Path(folder) / "out")
            levels = np.asarray(nib.load(found.map).dataobj)  # type: ignore[attr-defined, arg-type]  # it was written
        spectra = found.model.spectrum[1:]
        out[name] = map_error(levels.reshape(repeats.shape[:3]), repeats, spectra, is_pair=name in PAIRS)
        logger.info("%s: %s; %s", name, out[name], found.model.describe())
    return out


def patients(data: Path, picture: Path | None) -> dict[str, dict[str, object]]:
    """Share of the noise that is left in air, and flags, of every image at 0.055 T."""
    out: dict[str, dict[str, object]] = {}
    for path in sorted((data / "ulf_0p055T_brain").glob("*/*.nii.gz")):
        with tempfile.TemporaryDirectory() as folder:
            [saved] = denoise(path, Path(folder), progress=False)
            before, after = read_series(path), read_series(saved)
        [found] = find_noise(path)
        review = review_series(before, after, sigma=found.model.level, noise=found.model)
        name = f"{path.parent.name}/{path.name}"
        out[name] = {"left": review.values["noise_left"], "flags": [flag.name for flag in review.flags]}
        logger.info("%s: %s; %s", name, out[name], found.model.describe())
        if picture is not None and name == "sub01/flair.nii.gz":
            draw(before.magnitude[0, 1], after.magnitude[0, 1], found.model.level, picture)
    return out


def draw(before: np.ndarray, after: np.ndarray, level: float, path: Path) -> None:
    """Before, after, and what was removed from the magnitude, from -3 to 3 noise levels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2))
    panels = figure.subplots(1, 3)
    top = float(np.quantile(after, 0.995))
    shown = (
        (before, 0, top, "before"),
        (after, 0, top, "after"),
        (before - after, -3 * level, 3 * level, "removed, ±3σ"),
    )
    for panel, (values, low, high, title) in zip(panels, shown, strict=True):
        panel.imshow(values, cmap="gray", vmin=low, vmax=high)
        panel.set_title(title, fontsize=9)
        panel.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and log the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the sample data")
    parser.add_argument("--out", type=Path, default=Path("noise_of_repeats.json"))
    parser.add_argument("--picture", type=Path, help="PNG of one patient before, after, and what was removed")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("monai_stcnnt").setLevel(logging.WARNING)
    found = {"maps": maps(args.data), "patients": patients(args.data, args.picture)}
    args.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
