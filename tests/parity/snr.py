# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Compare our k-space operators with the fixtures of the snr kind, each built from its own metadata."""

from __future__ import annotations

from collections.abc import Callable
from math import prod, sqrt
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from monai_stcnnt.mri.fft import fftc, ifftc, resize_matrix
from monai_stcnnt.mri.kspace_filter import (
    Normalization,
    apply_kspace_filter,
    asymmetric_filter,
    filter_image,
    gaussian_filter,
    partial_fourier_filter,
    resolution_filter,
)
from monai_stcnnt.mri.noise import NoiseColoring, color_noise, complex_noise

__all__ = ["check"]

TOLERANCE = 1e-4
Result = tuple[str, str]
Arrays = dict[str, Tensor]
MATCH = ("match", "")


class Case(Protocol):
    """What is used of a fixture."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]


def check(case: Case) -> Result:
    """Compare one fixture.

    Returns:
        The status (``"match"``, ``"departure"`` or ``"skip"``) and a word about it.

    Raises:
        AssertionError: when numbers differ that should not.
        KeyError: when the function of the fixture is not known.
    """
    function = case.config["function"].split(".")[-1]
    return CHECKS[function](case.config.get("args", {}), join_complex(case.tensors))


def join_complex(tensors: dict[str, Tensor]) -> Arrays:
    """Join the pairs ``name.re`` and ``name.im``; the rest stays."""
    arrays = {n: t for n, t in tensors.items() if not n.endswith((".re", ".im"))}
    names = {n[:-3] for n in tensors if n.endswith(".re")}
    return arrays | {n: torch.complex(tensors[f"{n}.re"], tensors[f"{n}.im"]) for n in names}


def close(actual: Tensor, expected: Tensor) -> None:
    """Demand equality within the tolerance of the fixtures."""
    torch.testing.assert_close(actual.to(expected.dtype), expected, atol=TOLERANCE, rtol=TOLERANCE)


def only(arrays: Arrays, name: str) -> Tensor:
    """The array of that name, or the only one whose name starts with it."""
    return arrays[name] if name in arrays else next(t for n, t in sorted(arrays.items()) if n.startswith(f"{name}."))


def check_fft(_: dict[str, Any], arrays: Arrays) -> Result:
    """Every output is named ``output.<function>.<norm>.<input>``."""
    for name, expected in arrays.items():
        if not name.startswith("output."):
            continue
        function, norm, source = name.split(".")[1:]
        image = arrays[f"input.{source}"]
        dims = tuple(range(int(function.removesuffix("c")[-1])))
        inverse = function.startswith("i")
        ours = (ifftc if inverse else fftc)(image, dims)
        scale = sqrt(prod(image.shape[d] for d in dims)) if norm == "backward" else 1.0
        close(ours / scale if inverse else ours * scale, expected)
    return MATCH


def check_filters(args: dict[str, Any], arrays: Arrays) -> Result:
    """Every output has its own arguments."""
    for name, options in args.items():
        expected = only(arrays, name)
        if options["fn"] == "generate_symmetric_filter":
            sigma = options["sigma"] if options["filterType"] == "Gaussian" else 0.0
            ours = gaussian_filter(options["len"], sigma, "rms" if options.get("snr_scaling", True) else "max")
        elif options["fn"] == "generate_asymmetric_filter":
            taper: Any = "hanning" if options["filterType"] == "TapperedHanning" else "none"
            ours = asymmetric_filter(options["len"], options["start"], options["end"], options["width"], taper)
        else:
            raise KeyError(f"unknown filter {options['fn']}")
        close(ours, expected)
    return MATCH


def check_kspace_filter(_: dict[str, Any], arrays: Arrays) -> Result:
    """One filter for each of the first axes."""
    filters = [arrays[name] for name in ("fRO", "fE1", "fE2") if name in arrays]
    close(apply_kspace_filter(arrays["kspace"], filters, range(len(filters))), arrays["output"])
    return MATCH


def check_image_filter(args: dict[str, Any], arrays: Arrays) -> Result:
    """Gaussian filters with a peak of 1 along the first two axes, or the last of three."""
    image = arrays["input"]
    dims = (2,) if "sigma_T" in args else (0, 1)
    sigmas = [args["sigma_T"]] if "sigma_T" in args else [args["sigma_RO"], args["sigma_E1"]]
    outputs = [arrays[f"output.{i}"] for i in range(len(sigmas) + 1)]
    lengths = [image.shape[dim] for dim in dims]
    filters = [gaussian_filter(length, sigma, "max") for length, sigma in zip(lengths, sigmas, strict=True)]
    for ours, expected in zip([filter_image(image, filters, dims), *filters], outputs, strict=True):
        close(ours, expected)
    return MATCH


def check_resolution(args: dict[str, Any], arrays: Arrays) -> Result:
    """The published inverse transform is always orthonormal when noise is kept, whatever the forward one was."""
    image = arrays["input"]
    ratios = [args["ratio_RO"], args["ratio_E1"]]
    normalization: Normalization = "rms" if args["snr_scaling"] else "none"
    filters = [resolution_filter(n, ratio, normalization) for n, ratio in zip(image.shape[:2], ratios, strict=True)]
    ours = filter_image(image, filters, (0, 1))
    if args["snr_scaling"] and args["norm"] == "backward":
        ours = ours * sqrt(image.shape[0] * image.shape[1])
    masks = [resolution_filter(length, ratio) for length, ratio in zip(image.shape[:2], ratios, strict=True)]
    for got, name in zip([ours, *masks], ["output.0", "output.1", "output.2"], strict=True):
        close(got, arrays[name])
    return MATCH


def check_matrix(args: dict[str, Any], arrays: Arrays) -> Result:
    """Crop or pad k-space to a new size, or by a ratio."""
    image, expected = arrays["input"], arrays["output"]
    keep: Any = "noise"
    scaled = [round(args.get("ratio", 1.0) * n) for n in image.shape[:2]]
    ours = resize_matrix(image, (args.get("dst_RO", scaled[0]), args.get("dst_E1", scaled[1])), (0, 1), keep, "border")
    if ours.shape != expected.shape and any((n - o) % 2 for n, o in zip(ours.shape, image.shape, strict=True)):
        padded_right = resize_matrix(image, ours.shape[:2], (0, 1), "signal")
        close(resize_matrix(padded_right, image.shape[:2], (0, 1), "signal"), image)
        return "departure", "zero filling by an odd number of lines loses one of them in the published code"
    old, new = prod(image.shape[:2]), prod(ours.shape[:2])
    padded = sqrt(new / old) if new > old else 1.0
    if not args.get("snr_scaling", True):
        ours = ours / padded
    if args.get("norm") == "backward":
        ours = ours * sqrt(old / new)
    close(ours, expected)
    return MATCH


def check_partial_fourier(args: dict[str, Any], arrays: Arrays) -> Result:
    """Random axes and sides: every published filter is one of ours for the drawn ratio, or none at all."""
    for index, ratios in enumerate(args["ratios"]):
        for axis, ratio in zip(("RO", "E1"), ratios, strict=True):
            expected = arrays[f"output.{index}.pf_f{axis}"]
            choices = [torch.ones(args[axis])]
            choices += [partial_fourier_filter(args[axis], ratio, side) for side in ("pre", "post")]
            choices += [asymmetric_filter(args[axis], 0, args[axis] - 1)] if ratio == 1 else []
            assert any(torch.allclose(choice, expected, atol=TOLERANCE, rtol=TOLERANCE) for choice in choices), (
                index,
                axis,
                ratio,
            )
    return "match", "as one of the possible draws"


def check_white_noise(args: dict[str, Any], arrays: Arrays) -> Result:
    """Real part first, then the imaginary part, from one generator."""
    rng = np.random.default_rng(args["default_rng_seed"])
    close(complex_noise(args["size"], rng, args["noise_sigma"]), arrays["output"])
    return MATCH


def check_noise_generator(args: dict[str, Any], arrays: Arrays) -> Result:
    """Random steps: the noise level is the drawn one, ours and theirs; the axes are (H, W, T, repetitions)."""
    expected = arrays["output"]
    size = (args["REP"], args["T"], args["RO"], args["E1"])
    ours = color_noise(
        complex_noise(size, np.random.default_rng(0), args["noise_sigma"]),
        NoiseColoring(gaussian=(1.0, 1.0), temporal=1.0),
    )
    for noise in (expected, ours):
        level = float(torch.view_as_real(noise).std())
        assert abs(level / args["noise_sigma"] - 1) < 0.1, level
    return "match", "in distribution: the noise level"


CHECKS: dict[str, Callable[[dict[str, Any], Arrays], Result]] = {
    "*": check_fft,
    "generate_*": check_filters,
    "apply_kspace_filter_1D": check_kspace_filter,
    "apply_kspace_filter_2D": check_kspace_filter,
    "apply_kspace_filter_3D": check_kspace_filter,
    "apply_image_filter_2D": check_image_filter,
    "apply_image_filter_T": check_image_filter,
    "apply_resolution_reduction_2D": check_resolution,
    "apply_matrix_size_reduction_2D": check_matrix,
    "adjust_matrix_size": check_matrix,
    "zero_padding_resize_2D": check_matrix,
    "generate_pf_filter_in_random": check_partial_fourier,
    "sample_complex_noise": check_white_noise,
    "generate": check_noise_generator,
}
