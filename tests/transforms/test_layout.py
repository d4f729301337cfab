# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the file layout: nothing is lost between a file's array and the item of frames, whatever the type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.intensity.dictionary import ScaleIntensityd
from monai.transforms.post.dictionary import Invertd
from monai.transforms.utility.dictionary import EnsureTyped

from monai_stcnnt.errors import LayoutError
from monai_stcnnt.transforms.frames import FileToFrames, FileToFramesd, SwapFrameLayout, SwapFrameLayoutd
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

LAYOUTS: list[Layout] = ["BCTHW", "BTCHW"]
AXES: list[FrameAxis] = ["auto", "time", "slice"]
# The file's shape, the frame axis asked for, and the item's shape in MONAI's layout.
SHAPES: list[tuple[tuple[int, ...], FrameAxis, tuple[int, ...]]] = [
    ((1, 5, 4), "auto", (1, 1, 1, 4, 5)),
    ((1, 5, 4), "time", (1, 1, 1, 4, 5)),
    ((1, 5, 4, 3), "auto", (1, 1, 3, 4, 5)),
    ((1, 5, 4, 3), "slice", (1, 1, 3, 4, 5)),
    ((1, 5, 4, 3), "time", (3, 1, 1, 4, 5)),
    ((1, 5, 4, 3, 7), "auto", (3, 1, 7, 4, 5)),
    ((1, 5, 4, 3, 7), "time", (3, 1, 7, 4, 5)),
    ((1, 5, 4, 3, 7), "slice", (7, 1, 3, 4, 5)),
    ((1, 5, 4, 3, 1), "auto", (1, 1, 3, 4, 5)),
    ((1, 5, 4, 1, 7), "auto", (1, 1, 7, 4, 5)),
    ((2, 5, 4, 3, 7), "auto", (3, 2, 7, 4, 5)),
]


def numbered(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:  # noqa: ANN401 - whatever numpy takes
    """Array whose values all differ; the imaginary part, where there is one, differs from the real part."""
    values = np.arange(np.prod(shape)).reshape(shape)
    if np.issubdtype(dtype, np.complexfloating):
        return (values - 1j * (values + 0.5)).astype(dtype)
    return values.astype(dtype)


def scan(shape: tuple[int, ...], dtype: Any = np.float32) -> MetaTensor:  # noqa: ANN401 - whatever numpy takes
    """Image with metadata as the reader gives it."""
    kind = "complex" if np.issubdtype(dtype, np.complexfloating) else "magnitude"
    affine = torch.tensor([[0, 2.0, 0, 5], [-1.5, 0, 0, 6], [0, 0, 8, 7], [0, 0, 0, 1]], dtype=torch.float64)
    meta = {"kind": kind, "frame_times": np.arange(7) * 33.0}
    return MetaTensor(torch.from_numpy(numbered(shape, dtype)), affine=affine, meta=meta)


@pytest.mark.parametrize(("shape", "frame_axis", "expected"), SHAPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.uint8])
def test_round_trip_of_real_arrays(
    shape: tuple[int, ...], frame_axis: FrameAxis, expected: tuple[int, ...], layout: Layout, dtype: type
) -> None:
    array = numbered(shape, dtype)
    axis = resolve_frame_axis(shape, frame_axis)
    for given in (array, torch.from_numpy(array)):
        frames = file_to_frames(given, frame_axis=frame_axis, layout=layout)
        monai_layout = frames if layout == "BCTHW" else swap_frame_layout(frames)
        assert tuple(monai_layout.shape) == expected
        back = frames_to_file(frames, spatial_shape=shape[1:], frame_axis=axis, layout=layout)
        assert type(back) is type(given)
        assert back.dtype == given.dtype
        np.testing.assert_array_equal(np.asarray(back), array)


@pytest.mark.parametrize("shape", [(1, 5, 4), (1, 5, 4, 3), (1, 5, 4, 3, 7)])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_becomes_two_channels_and_back(shape: tuple[int, ...], layout: Layout, dtype: type) -> None:
    array = numbered(shape, dtype)
    for given in (array, torch.from_numpy(array)):
        frames = file_to_frames(given, layout=layout)
        channels = swap_frame_layout(frames) if layout == "BTCHW" else frames
        np.testing.assert_array_equal(np.asarray(channels[:, :1]), np.asarray(file_to_frames(array.real.copy())))
        np.testing.assert_array_equal(np.asarray(channels[:, 1:]), np.asarray(file_to_frames(array.imag.copy())))
        axis = resolve_frame_axis(shape)
        back = frames_to_file(frames, spatial_shape=shape[1:], frame_axis=axis, layout=layout, is_complex=True)
        assert back.dtype == given.dtype
        np.testing.assert_array_equal(np.asarray(back), array)


def test_axes_go_where_the_table_says() -> None:
    array = numbered((2, 5, 4, 3, 7))
    time = np.asarray(file_to_frames(array, frame_axis="time"))
    slices = np.asarray(file_to_frames(array, frame_axis="slice", layout="BTCHW"))
    for c, x, y, z, t in [(0, 1, 2, 0, 3), (1, 4, 3, 2, 6)]:
        assert time[z, c, t, y, x] == array[c, x, y, z, t]
        assert slices[t, z, c, y, x] == array[c, x, y, z, t]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_prediction_of_a_complex_file_becomes_complex64(dtype: torch.dtype) -> None:
    frames = torch.ones(3, 2, 7, 4, 5, dtype=dtype)
    back = frames_to_file(frames, spatial_shape=(5, 4, 3, 7), frame_axis="time", is_complex=True)
    assert back.dtype == torch.complex64
    assert tuple(back.shape) == (1, 5, 4, 3, 7)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("frame_axis", AXES)
@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
@pytest.mark.parametrize("shape", [(1, 5, 4), (1, 5, 4, 3), (1, 5, 4, 3, 7)])
def test_transform_keeps_values_type_and_metadata(
    shape: tuple[int, ...], dtype: type, frame_axis: FrameAxis, layout: Layout
) -> None:
    image = scan(shape, dtype)
    transform = FileToFrames(frame_axis, layout)
    frames = transform(image)
    assert isinstance(frames, MetaTensor)
    assert frames.ndim == 5
    back = transform.inverse(frames)
    assert isinstance(back, MetaTensor)
    assert back.dtype == image.dtype
    assert back.applied_operations == []
    torch.testing.assert_close(back.as_tensor(), image.as_tensor(), rtol=0, atol=0)
    torch.testing.assert_close(back.affine, image.affine, rtol=0, atol=0)
    np.testing.assert_array_equal(back.meta["frame_times"], image.meta["frame_times"])
    assert image.applied_operations == []


@pytest.mark.parametrize("given", [np.ones((1, 5, 4), np.float32), torch.ones(1, 5, 4)])
def test_type_without_metadata_stays_and_has_no_trace(given: Any) -> None:  # noqa: ANN401 - array or tensor
    frames = FileToFrames()(given)
    assert type(frames) is type(given)
    with pytest.raises(LayoutError, match="MetaTensor"):
        FileToFrames().inverse(frames)


@pytest.mark.parametrize(
    ("dtype", "channels", "expected_dtype", "expected_channels"),
    [
        (np.complex64, 2, torch.complex64, 1),
        (np.complex64, 1, torch.float32, 1),
        (np.complex64, 4, torch.float32, 4),
        (np.float32, 1, torch.float32, 1),
        (np.float32, 2, torch.float32, 2),
    ],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_invertd_takes_a_prediction_with_other_channels(
    dtype: type, channels: int, expected_dtype: torch.dtype, expected_channels: int, layout: Layout
) -> None:
    pre = Compose([FileToFramesd("image", layout=layout)])
    d = pre({"image": scan((1, 5, 4, 3, 7), dtype)})
    shape = (3, channels, 7, 4, 5) if layout == "BCTHW" else (3, 7, channels, 4, 5)
    d["pred"] = MetaTensor(torch.arange(float(np.prod(shape))).reshape(shape))
    out = Invertd("pred", transform=pre, orig_keys="image")(d)["pred"]
    assert tuple(out.shape) == (expected_channels, 5, 4, 3, 7)
    assert out.dtype == expected_dtype
    torch.testing.assert_close(out.affine, d["image"].affine)
    np.testing.assert_array_equal(out.meta["frame_times"], d["image"].meta["frame_times"])
    assert len(d["image"].applied_operations) == 1
    assert out.meta["kind"] == ("complex" if out.is_complex() else "magnitude")
    assert d["image"].meta["kind"] == ("complex" if dtype is np.complex64 else "magnitude")
    again = pre({"image": out})["image"]
    torch.testing.assert_close(again.as_tensor(), d["pred"].as_tensor())


def test_invertd_of_a_whole_chain_is_exact() -> None:
    pre = Compose([FileToFramesd("image"), SwapFrameLayoutd("image"), EnsureTyped("image")])
    image = scan((1, 5, 4, 3, 7), np.complex64)
    d = pre({"image": image})
    assert tuple(d["image"].shape) == (3, 7, 2, 4, 5)
    d["pred"] = d["image"]
    out = Invertd("pred", transform=pre, orig_keys="image")(d)["pred"]
    torch.testing.assert_close(out.as_tensor(), image.as_tensor(), rtol=0, atol=0)


def test_other_transforms_between_do_not_disturb_the_inverse() -> None:
    pre = Compose([FileToFramesd("image"), ScaleIntensityd("image")])
    d = pre({"image": scan((1, 5, 4, 3))})
    out = Invertd("image", transform=pre)(d)["image"]
    assert tuple(out.shape) == (1, 5, 4, 3)


def test_wrong_size_is_refused_in_the_inverse() -> None:
    transform = FileToFrames()
    frames = transform(scan((1, 5, 4, 3, 7)))
    with pytest.raises(LayoutError, match=r"the file has \(5, 4, 3, 7\)"):
        transform.inverse(frames[..., :-1])


@pytest.mark.parametrize(
    "map_shape", [(1, 5, 4), (1, 5, 4, 3), (1, 5, 4, 3, 1), (1, 5, 4, 1), (1, 1, 1), (1, 5, 4, 3, 7)]
)
@pytest.mark.parametrize("frame_axis", AXES)
def test_map_is_laid_out_as_its_image(map_shape: tuple[int, ...], frame_axis: FrameAxis) -> None:
    transform = FileToFramesd(["gmap", "image"], frame_axis, source_key="image")
    image, gmap = scan((1, 5, 4, 3, 7)), scan(map_shape)
    d = transform({"image": image, "gmap": gmap})
    assert d["gmap"].shape == d["image"].shape
    full = np.broadcast_to(gmap.numpy().reshape((*map_shape, 1, 1)[:5]), image.shape)
    np.testing.assert_array_equal(d["gmap"].numpy(), np.asarray(file_to_frames(full, frame_axis=frame_axis)))
    back = transform.inverse(d)
    torch.testing.assert_close(back["gmap"].as_tensor(), gmap.as_tensor(), rtol=0, atol=0)
    torch.testing.assert_close(back["image"].as_tensor(), image.as_tensor(), rtol=0, atol=0)


def test_map_of_an_image_with_fewer_axes_drops_singletons() -> None:
    assert np.asarray(expand_to_sizes(np.ones((1, 5, 4, 1)), (5, 4))).shape == (1, 5, 4)


@pytest.mark.parametrize("shape", [(1, 4, 5), (1, 5, 4, 2), (1, 5, 4, 3, 2)])
def test_map_of_other_sizes_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(LayoutError, match="does not cover"):
        expand_to_sizes(np.ones(shape), (5, 4, 3, 7))


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 2, 3, 4, 5)])
def test_swap_is_its_own_inverse(shape: tuple[int, ...]) -> None:
    array = numbered(shape)
    swapped = swap_frame_layout(array)
    assert swapped.shape[-4:-2] == (shape[-3], shape[-4])
    np.testing.assert_array_equal(np.asarray(swap_frame_layout(swapped)), array)
    transform, image = SwapFrameLayout(), MetaTensor(torch.from_numpy(array), meta={"kind": "magnitude"})
    out = transform(image)
    np.testing.assert_array_equal(np.asarray(out), np.asarray(swapped))
    back = transform.inverse(out)
    assert isinstance(back, MetaTensor)
    assert back.applied_operations == []
    torch.testing.assert_close(back.as_tensor(), image.as_tensor(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: file_to_frames(np.ones((4, 5))), "channel first"),
        (lambda: file_to_frames(np.ones((1, 2, 3, 4, 5, 6))), "channel first"),
        (lambda: file_to_frames(np.ones((2, 3, 4), complex)), "one channel"),
        (lambda: file_to_frames(np.ones((1, 3, 4)), frame_axis="depth"), "'depth'"),  # type: ignore[arg-type]
        (lambda: file_to_frames(np.ones((1, 3, 4)), layout="CTHW"), "'CTHW'"),  # type: ignore[arg-type]
        (lambda: FileToFrames(frame_axis="depth"), "'depth'"),  # type: ignore[arg-type]
        (lambda: FileToFrames(layout="CTHW"), "'CTHW'"),  # type: ignore[arg-type]
        (lambda: frames_to_file(np.ones((1, 3, 4)), spatial_shape=(4, 3), frame_axis="time"), "5 axes"),
        (lambda: swap_frame_layout(np.ones((1, 3, 4))), "axes"),
        (lambda: FileToFrames()(MetaTensor(torch.ones(1, 3, 4), meta={"kind": "complex"})), r"LoadImage\(dtype=None\)"),
    ],
)
def test_wrong_use_is_refused(call: Any, message: str) -> None:  # noqa: ANN401 - a call without arguments
    with pytest.raises(LayoutError, match=message):
        call()


def test_missing_keys() -> None:
    with pytest.raises(KeyError):
        FileToFramesd(["image", "gmap"])({"image": scan((1, 5, 4))})
    d = FileToFramesd(["image", "gmap"], allow_missing_keys=True)({"image": scan((1, 5, 4))})
    assert d["image"].ndim == 5
