# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure how well methods denoise real scans that no network was trained on, with noise whose truth is known.

``python -m benchmarks.denoising_quality --data DIR`` adds complex noise of standard deviation 1 per component to every
scan, scaled to every asked SNR, and prints PSNR and SSIM (of magnitudes, whole image, data range the clean maximum) as
tables. There are two comparisons: on complex images, of which a filter gets both components, and on magnitudes, whose
noise is Rician. A method with a parameter is tuned for every single image, on the truth and for each figure on its own,
which no user could do.

With ``--repeats`` the truth has noise of its own: of scans whose frames repeat one image, a half gets noise, and the
mean of the other half is the truth.

To add a method, write a function from a :class:`~benchmarks.quality_cases.Case` to its results and list it in
:data:`METHODS`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from skimage.restoration import denoise_tv_chambolle

from benchmarks.classical_denoisers import block_matching, marchenko_pastur, non_local_means
from benchmarks.compared_denoisers import COMPARED, compared_network, window_inferer
from benchmarks.held_out import NIBABEL_SCAN, drawn_heads, held_out_scans, nibabel_scan, repeated_scans
from benchmarks.quality_cases import Case, Kind, from_stacks, make_case, to_stacks
from benchmarks.quality_report import Row, draw_examples, tables, write_readme, write_results
from monai_stcnnt.apps.denoising import denoise
from monai_stcnnt.apps.review.quality import image_quality
from monai_stcnnt.data import SeriesRecord, read_series, write_nifti
from monai_stcnnt.mri.rician import rician_signal
from monai_stcnnt.networks.nets import build_variant

__all__ = [
    "METHODS",
    "Method",
    "evaluate",
    "installed_methods",
    "main",
    "trained_methods",
]

logger = logging.getLogger("denoising_quality")

Candidate = tuple[str, SeriesRecord]

GAUSSIAN_IN_PLANE = (0.0, 0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2, 3.0)
GAUSSIAN_OVER_FRAMES = (0.4, 0.6, 0.9, 1.4, 2.2, 4.0, 8.0)
TV_WEIGHTS = (0.2, 0.3, 0.45, 0.7, 1.0, 1.5, 2.2, 3.3, 5.0)
BM4D_SIGMAS = (0.9, 1.0)
NLM_SIGMAS = (0.7, 0.85, 1.0, 1.2)
MIN_VOLUMES = 6
_TV_ITERATIONS = 100


@dataclass(frozen=True)
class Method:
    """A way to denoise.

    Attributes:
        name: what the tables call it.
        results: yields results for a case, several for a method that is to be tuned, each with its parameters in words.
        kinds: the images that it is made for.
        needs: a package of the extra ``bench``.
    """

    name: str
    results: Callable[[Case], Iterator[Candidate]]
    kinds: tuple[Kind, ...] = ("complex", "magnitude")
    needs: str | None = None


def filtered(case: Case, name: str, filter_image: Callable[[np.ndarray], np.ndarray]) -> Iterator[Candidate]:
    """Filter every stack and component; a magnitude image also with its Rician bias taken off afterwards.

    Args:
        case: the noisy image.
        name: the parameters in words.
        filter_image: from ``(frames, Y, X)`` to the same.

    Yields:
        The result, and for magnitudes a second one.
    """
    stacks = to_stacks(case.noisy.array)
    result = np.stack([np.stack([filter_image(component) for component in stack]) for stack in stacks])
    array = from_stacks(result, case.noisy.array.shape)
    yield name, case.noisy.with_array(array)
    if case.kind == "magnitude":
        yield f"{name}, bias corrected", case.noisy.with_array(rician_signal(array))


def unchanged(case: Case) -> Iterator[Candidate]:
    """The noisy image itself."""
    yield "", case.noisy


def gaussian_2d(case: Case) -> Iterator[Candidate]:
    """Gaussian smoothing of every frame, over a grid of widths in pixels."""
    for width in GAUSSIAN_IN_PLANE[1:]:
        yield from filtered(case, f"sigma {width}", partial(gaussian_filter, sigma=(0, width, width)))


def gaussian_3d(case: Case) -> Iterator[Candidate]:
    """Gaussian smoothing of frames as well, over a grid of widths in the plane and over frames."""
    for width, over_frames in itertools.product(GAUSSIAN_IN_PLANE, GAUSSIAN_OVER_FRAMES):
        smooth = partial(gaussian_filter, sigma=(over_frames, width, width))
        yield from filtered(case, f"sigma {width}, over frames {over_frames}", smooth)


def total_variation_2d(case: Case) -> Iterator[Candidate]:
    """Total variation of every frame, by weights (Chambolle, 2004, doi:10.1023/B:JMIV.0000011325.36760.1e)."""

    def smooth(image: np.ndarray, weight: float) -> np.ndarray:
        return np.stack([denoise_tv_chambolle(frame, weight, max_num_iter=_TV_ITERATIONS) for frame in image])

    for weight in TV_WEIGHTS:
        yield from filtered(case, f"weight {weight}", partial(smooth, weight=weight))


def total_variation_3d(case: Case) -> Iterator[Candidate]:
    """Total variation over frames as well."""
    for weight in TV_WEIGHTS:
        smooth = partial(denoise_tv_chambolle, weight=weight, max_num_iter=_TV_ITERATIONS)
        yield from filtered(case, f"weight {weight}", smooth)


def block_matching_4d(case: Case) -> Iterator[Candidate]:
    """BM4D, told the noise level and less, which suits magnitudes and scans that are smooth already."""
    for sigma in BM4D_SIGMAS:
        yield from filtered(case, f"sigma {sigma}", partial(block_matching, sigma=sigma))


def non_local_means_3d(case: Case) -> Iterator[Candidate]:
    """Non-local means of frames, in its Rician form for magnitudes, over a grid of noise levels."""
    rician = case.kind == "magnitude"
    for sigma in NLM_SIGMAS:
        yield from filtered(case, f"sigma {sigma}", partial(non_local_means, sigma=sigma, rician=rician))


def marchenko_pastur_pca(case: Case) -> Iterator[Candidate]:
    """MP-PCA, where there are enough volumes; a magnitude image also with its Rician bias taken off afterwards."""
    if case.noisy.array.shape[1] < MIN_VOLUMES:
        return
    array = np.stack([marchenko_pastur(component) for component in case.noisy.array]).astype(np.float32)
    yield "", case.noisy.with_array(array)
    if case.kind == "magnitude":
        yield "bias corrected", case.noisy.with_array(rician_signal(array))


def bundle_network(
    case: Case, bundle: Path | None = None, device: str = "auto", *, self_ensemble: bool = False, fast: bool = False
) -> Iterator[Candidate]:
    """The denoising bundle, through files as a user runs it.

    It is told what the other methods are told, or take for granted: the level of the noise, and that it is white.
    """
    with tempfile.TemporaryDirectory() as folder:
        noisy = write_nifti(case.noisy, Path(folder) / "noisy.nii.gz")
        output = Path(folder) / "denoised.nii.gz"
        denoise(
            noisy,
            output,
            noise_sigma=1.0,
            noise_spectrum="white",
            self_ensemble=self_ensemble,
            fast=fast,
            bundle=bundle,
            device=device,
            progress=False,
        )
        yield "", read_series(output)


def trained_network(case: Case, name: str, weights: str) -> Iterator[Candidate]:
    """One of MONAI's networks after the bundle's training, in the bundle's windows."""
    yield from in_windows(case, compared_network(name, case.kind, weights))


def first_guess(case: Case) -> Iterator[Candidate]:
    """The estimates that the bundle's network starts from, which it gives without training."""
    yield from in_windows(case, build_variant("stcnnt_light" if case.kind == "complex" else "stcnnt_light_magnitude"))


def in_windows(case: Case, network: torch.nn.Module) -> Iterator[Candidate]:
    """Apply a network in the bundle's windows."""
    images = torch.tensor(to_stacks(case.noisy.array))
    with torch.inference_mode():
        result = window_inferer()(torch.cat([images, torch.ones_like(images[:, :1])], 1), network.eval())
    yield "", case.noisy.with_array(from_stacks(torch.as_tensor(result).numpy(), case.noisy.array.shape))


def bundle_methods(bundle: Path | None = None, device: str = "auto") -> dict[str, Method]:
    """What ``--methods`` calls the ways to use a denoising bundle; without one, the package's."""
    ours = partial(bundle_network, bundle=bundle, device=device)
    return {
        "self_ensemble": Method("mri_denoising bundle, self-ensemble", partial(ours, self_ensemble=True)),
        "fast": Method("mri_denoising bundle, fast", partial(ours, fast=True)),
        "bundle": Method("mri_denoising bundle", ours),
    }


METHODS: dict[str, Method] = {
    "noisy": Method("noisy", unchanged),
    "gaussian_2d": Method("Gaussian 2D, tuned", gaussian_2d),
    "gaussian_3d": Method("Gaussian 3D, tuned", gaussian_3d),
    "tv_2d": Method("total variation 2D, tuned", total_variation_2d),
    "tv_3d": Method("total variation 3D, tuned", total_variation_3d),
    "nlm": Method("non-local means, tuned", non_local_means_3d, needs="dipy"),
    "mppca": Method("MP-PCA", marchenko_pastur_pca, needs="dipy"),
    "bm4d": Method("BM4D, tuned", block_matching_4d, needs="bm4d"),
    "untrained": Method("mri_denoising bundle without training", first_guess),
    **bundle_methods(),
}
"""What ``--methods`` chooses from."""


def worst_if_undefined(value: float) -> float:
    """The value, or minus infinity where a method gave pixels that are not numbers."""
    return float("-inf") if np.isnan(value) else value


def evaluate(case: Case, method: Method, clock: Callable[[], float] = time.perf_counter) -> Row | None:
    """Run a method on a case and keep its best PSNR and its best SSIM; None for a case that it is not made for."""
    found, seconds, start = [], 0.0, clock()
    for parameters, result in method.results(case):
        seconds += clock() - start
        found.append((image_quality(case.truth, result), parameters))
        start = clock()
    if not found:
        return None
    psnr, psnr_parameters = max((worst_if_undefined(quality.psnr), parameters) for quality, parameters in found)
    ssim, ssim_parameters = max((worst_if_undefined(quality.ssim), parameters) for quality, parameters in found)
    return Row(
        case.series,
        case.snr,
        case.seed,
        case.kind,
        method.name,
        psnr,
        ssim,
        psnr_parameters,
        ssim_parameters,
        seconds / len(found),
    )


def _kept(paths: Sequence[Path], measured: Sequence[str]) -> list[Row]:
    """Rows of earlier runs, of methods that are not measured now."""
    rows = [Row(**row) for path in paths for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]
    return [row for row in rows if row.method not in measured]


def _draw(methods: Sequence[Method], options: argparse.Namespace) -> None:
    """Draw the middle slice of nibabel's scan, which comes with it, at SNR 5, with what the methods make of it."""
    kind = options.kinds[0]
    case = make_case(NIBABEL_SCAN, nibabel_scan(_size(options)), 5.0, 0, kind)
    images = {}
    for method in methods:
        if kind in method.kinds:
            results = [result for _, result in method.results(case)]
            if results:
                best = max(results, key=lambda result: image_quality(case.truth, result).psnr)
                images[f"{method.name}\n{image_quality(case.truth, best).psnr:.1f} dB"] = _middle(best)
    draw_examples(_middle(case.truth), images, options.picture)


def _middle(record: SeriesRecord) -> np.ndarray:
    """Magnitudes of the slice in the middle, (Y, X)."""
    values = record.magnitude
    return values[values.shape[0] // 2, values.shape[1] // 2]


def trained_methods(entries: Sequence[str]) -> list[Method]:
    """Methods for entries ``KIND/NAME=WEIGHTS``.

    Raises:
        ValueError: for an entry of another form.
    """
    methods = []
    for entry in entries:
        kind, _, rest = entry.partition("/")
        name, _, weights = rest.partition("=")
        if kind not in ("complex", "magnitude") or name not in COMPARED or not weights:
            raise ValueError(f"{entry!r} is not KIND/NAME=WEIGHTS with a name of {', '.join(COMPARED)}.")
        kinds: tuple[Kind, ...] = ("complex",) if kind == "complex" else ("magnitude",)
        methods.append(Method(f"MONAI {COMPARED[name]}", partial(trained_network, name=name, weights=weights), kinds))
    return methods


def installed_methods() -> list[str]:
    """The methods whose packages are installed; the log names those that are left out."""
    left_out = {name for name, method in METHODS.items() if method.needs and find_spec(method.needs) is None}
    if left_out:
        logger.warning("Left out, since the extra 'bench' is not installed: %s", ", ".join(sorted(left_out)))
    return [name for name in METHODS if name not in left_out]


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the held-out scans; without it, nibabel's scan alone")
    parser.add_argument("--further", action="store_true", help="the further scans of the folder instead of the first")
    parser.add_argument("--repeats", action="store_true", help="scans of repeats, of which a half is the truth")
    parser.add_argument("--drawn", type=Path, help="packed clips: images from a label map, whose truth has no noise")
    parser.add_argument("--files", type=Path, nargs="+", default=[], help="your own scans beside them")
    parser.add_argument("--snr", type=float, nargs="+", help="SNRs (default 1 2 5 10 20; 2 5 when quick)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds of the noise")
    parser.add_argument("--kinds", nargs="+", choices=["complex", "magnitude"], default=["complex", "magnitude"])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), help="default: all installed")
    parser.add_argument("--bundle", type=Path, help="another bundle than the package's")
    parser.add_argument("--device", default="auto", help="for the network")
    parser.add_argument(
        "--networks",
        nargs="+",
        default=[],
        metavar="KIND/NAME=WEIGHTS",
        help="networks of MONAI after the bundle's training, such as complex/dynunet=model.pt; " + ", ".join(COMPARED),
    )
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall", help="what seconds are measured by")
    parser.add_argument("--keep", type=Path, nargs="+", default=[], help="JSON files of earlier runs to show beside")
    parser.add_argument(
        "--readme", type=Path, nargs="+", default=[], help="markdown whose marked parts are to be written anew"
    )
    parser.add_argument("--picture", type=Path, help="PNG file of results for a slice of the scan of nibabel")
    parser.add_argument("--output", type=Path, default=Path("denoising_quality.json"), help="all results as JSON")
    parser.add_argument("--quick", action="store_true", help="small crops and two SNRs, some minutes")
    parser.add_argument("--full", action="store_true", help="whole scans, hours")
    parser.add_argument("--size", type=int, nargs=4, help="largest numbers of frames, rows, columns, slices")
    return parser.parse_args(arguments)


def _scans(options: argparse.Namespace) -> Iterator[tuple[str, SeriesRecord, SeriesRecord | None]]:
    """Names, what noise is added to, and repeats of it where they are the truth."""
    size = _size(options)
    if options.repeats:
        yield from repeated_scans(options.data, size)
        return
    if options.drawn is not None:
        scans = drawn_heads(options.drawn, size or (12, 112, 112))
    else:
        scans = held_out_scans(options.data, options.files, size, further=options.further)
    for name, series in scans:
        yield name, series, None


def _size(options: argparse.Namespace) -> Sequence[int] | None:
    """The part of a scan that is measured; None for all of it."""
    return None if options.full else options.size or ((6, 80, 80, 1) if options.quick else (12, 112, 112, 2))


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Measure, print the tables, and write the JSON file.

    Args:
        arguments: command-line options; those of the process by default.

    Returns:
        All results.
    """
    options = _arguments(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    methods = {**METHODS, **bundle_methods(options.bundle, options.device)}
    chosen = [methods[name] for name in options.methods or installed_methods()]
    chosen = [*trained_methods(options.networks), *chosen]
    clock = time.process_time if options.clock == "processor" else time.perf_counter
    snrs = options.snr or ([2.0, 5.0] if options.quick else [1.0, 2.0, 5.0, 10.0, 20.0])
    rows = _kept(options.keep, [method.name for method in chosen])
    for name, series, repeats in _scans(options):
        for kind, snr, seed in itertools.product(options.kinds, snrs, options.seeds):
            case = make_case(name, series, snr, seed, kind, repeats)
            for method in chosen:
                row = evaluate(case, method, clock) if kind in method.kinds else None
                if row is not None:
                    rows.append(row)
                    logger.info("%s, %s, SNR %g: %s %.2f dB", name, kind, snr, method.name, row.psnr)
        write_results(options.output, rows, options)
    sys.stdout.write(tables(rows))
    for path in options.readme:
        write_readme(path, rows)
    if options.picture is not None:
        _draw(chosen, options)
    return rows


if __name__ == "__main__":
    main()
