# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a transform does, its inverse undoes, for arrays of all sizes and kinds that a scan can have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.data.meta_tensor import MetaTensor

from monai_stcnnt.errors import LayoutError, NoiseLevelError
from monai_stcnnt.mri.channels import channels_to_complex, complex_to_channels
from monai_stcnnt.mri.fft import fftc, ifftc
from monai_stcnnt.transforms import FileToFrames, FromSNRUnits, ToSNRUnits
from monai_stcnnt.transforms.layout import (
    FrameAxis,
    Layout,
    expand_to_sizes,
    file_to_frames,
    frames_to_file,
    resolve_frame_axis,
    swap_frame_layout,
)

__all__: list[str] = []

SIZES = st.lists(st.integers(1, 4), min_size=2, max_size=4)
CHANNELS = st.integers(1, 2)
AXES: st.SearchStrategy[FrameAxis] = st.sampled_from(["auto", "time", "slice"])
LAYOUTS: st.SearchStrategy[Layout] = st.sampled_from(["BCTHW", "BTCHW"])
FINITE = st.floats(-1e4, 1e4, width=32)
LEVELS = st.floats(1e-3, 1e3)


def numbered(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:  # noqa: ANN401 - whatever numpy takes
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@given(SIZES, CHANNELS, AXES, LAYOUTS, st.sampled_from([np.float32, np.int16, np.complex64]), st.booleans())
def test_frames_lose_and_change_nothing(
    sizes: list[int], channels: int, axis: FrameAxis, layout: Layout, dtype: type, as_tensor: bool
) -> None:
    is_complex = np.issubdtype(dtype, np.complexfloating)
    shape = (1 if is_complex else channels, *sizes)
    array = numbered(shape, dtype) * (1 - 2j if is_complex else 1)
    array = array.astype(dtype)
    given_array = torch.from_numpy(array) if as_tensor else array
    frames = file_to_frames(given_array, frame_axis=axis, layout=layout)
    assert frames.ndim == 5
    parts = np.concatenate([array.real.ravel(), array.imag.ravel()]) if is_complex else array.ravel()
    np.testing.assert_array_equal(np.sort(np.asarray(frames).ravel()), np.sort(parts))
    back = frames_to_file(
        frames, spatial_shape=sizes, frame_axis=resolve_frame_axis(shape, axis), layout=layout, is_complex=is_complex
    )
    np.testing.assert_array_equal(np.asarray(back), array)


@given(SIZES, CHANNELS, AXES, LAYOUTS)
def test_the_transform_of_an_image_is_undone(sizes: list[int], channels: int, axis: FrameAxis, layout: Layout) -> None:
    image = MetaTensor(torch.from_numpy(numbered((channels, *sizes))))
    transform = FileToFrames(axis, layout)
    back = transform.inverse(transform(image))
    assert isinstance(back, MetaTensor)
    assert not back.applied_operations
    np.testing.assert_array_equal(np.asarray(back), np.asarray(image))


@given(st.lists(st.integers(1, 4), min_size=5, max_size=5))
def test_swapping_twice_is_nothing(sizes: list[int]) -> None:
    array = numbered(tuple(sizes))
    np.testing.assert_array_equal(swap_frame_layout(swap_frame_layout(array)), array)


@given(st.lists(st.integers(0, 4), max_size=7), AXES)
def test_other_shapes_are_refused_by_name(shape: list[int], axis: FrameAxis) -> None:
    assume(not 3 <= len(shape) <= 5)
    with pytest.raises(LayoutError):
        file_to_frames(np.zeros(shape, np.float32), frame_axis=axis)


@given(SIZES, st.data())
def test_a_map_is_repeated_where_it_has_one_value(sizes: list[int], data: st.DataObject) -> None:
    own = [data.draw(st.sampled_from([1, size])) for size in sizes]
    gmap = numbered((1, *own))
    full = np.asarray(expand_to_sizes(gmap, sizes))
    assert full.shape == (1, *sizes)
    np.testing.assert_array_equal(full, np.broadcast_to(gmap, full.shape))


@given(arrays(np.float32, (1, 2, 3, 4), elements=FINITE), LEVELS)
def test_snr_units_scale_and_come_back(image: np.ndarray, sigma: float) -> None:
    there = np.asarray(ToSNRUnits(sigma)(image))
    np.testing.assert_allclose(there * sigma, image, rtol=1e-5, atol=1e-30)
    for back in (ToSNRUnits(sigma).inverse(there), FromSNRUnits(sigma)(there)):
        np.testing.assert_allclose(np.asarray(back), image, rtol=1e-5, atol=1e-30)


@given(arrays(np.float32, (1, 2, 3, 4), elements=FINITE), LEVELS, LEVELS)
def test_snr_units_do_not_depend_on_the_units_of_the_image(image: np.ndarray, sigma: float, factor: float) -> None:
    np.testing.assert_allclose(
        np.asarray(ToSNRUnits(sigma * factor)(image * np.float32(factor))),
        np.asarray(ToSNRUnits(sigma)(image)),
        rtol=1e-4,
        atol=1e-30,
    )


@given(st.one_of(st.floats(max_value=0), st.just(float("nan")), st.just(float("inf"))))
def test_a_level_that_is_none_is_refused(sigma: float) -> None:
    with pytest.raises(NoiseLevelError):
        ToSNRUnits(sigma)


@given(arrays(np.float32, st.tuples(st.just(2), *[st.integers(1, 6)] * 3), elements=FINITE))
def test_the_fourier_transform_keeps_energy_and_comes_back(image: np.ndarray) -> None:
    values = channels_to_complex(torch.from_numpy(image))
    kspace = fftc(values)
    largest = float(values.abs().max()) + 1e-6
    torch.testing.assert_close(ifftc(kspace), values, atol=1e-5 * largest, rtol=1e-5)
    torch.testing.assert_close(kspace.norm(), values.norm(), atol=1e-4 * largest, rtol=1e-4)
    torch.testing.assert_close(complex_to_channels(values), torch.from_numpy(image))
