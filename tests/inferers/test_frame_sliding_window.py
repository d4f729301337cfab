# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the sliding window."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data.meta_tensor import MetaTensor

from monai_stcnnt.errors import LayoutError, OptionError
from monai_stcnnt.inferers import FrameSlidingWindowInferer
from monai_stcnnt.inferers.frame_sliding_window import cheapest_window, fitting_window, pad_to_window

SHAPES = [(1, 2, 1, 5, 7), (2, 1, 3, 20, 31), (1, 1, 25, 33, 16), (1, 3, 16, 16, 16), (1, 1, 2, 1, 40)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shrink", [True, False])
@pytest.mark.parametrize("mode", ["gaussian", "constant"])
def test_a_pointwise_network_comes_out_as_without_windows(shape: tuple[int, ...], shrink: bool, mode: str) -> None:
    x = torch.randn(shape)
    inferer = FrameSlidingWindowInferer((8, 16, 16), 3, (0.5, 0.25, 0.25), mode, shrink_to_image=shrink)
    torch.testing.assert_close(inferer(x, lambda p: 2.0 * p + 1.0), 2.0 * x + 1.0)


@pytest.mark.parametrize("shape", SHAPES)
def test_windows_have_the_asked_size_unless_they_shrink(shape: tuple[int, ...]) -> None:
    seen: set[tuple[int, ...]] = set()

    def network(patch: torch.Tensor) -> torch.Tensor:
        seen.add(tuple(patch.shape[2:]))
        return patch + 0.0

    FrameSlidingWindowInferer((8, 16, 16))(torch.randn(shape), network)
    assert seen == {(8, 16, 16)}
    seen.clear()
    FrameSlidingWindowInferer((8, 16, 16), shrink_to_image=True)(torch.randn(shape), network)
    assert seen == {cheapest_window(shape[2:], (8, 16, 16), (2, 4, 4))}


def test_a_whole_extent_is_one_window() -> None:
    seen = []

    def network(patch: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(patch.shape[2:]))
        return patch + 0.0

    FrameSlidingWindowInferer((-1, 8, 8), overlap=0.0)(torch.randn(1, 1, 11, 16, 8), network)
    assert seen == [(11, 8, 8)] * 2


@pytest.mark.parametrize("dtype", [torch.int16, torch.float16, torch.float64])
def test_any_type_is_computed_in_float32(dtype: torch.dtype) -> None:
    x = (100 * torch.rand(1, 1, 3, 20, 20)).to(dtype)
    y = FrameSlidingWindowInferer((4, 16, 16))(x, lambda p: p * 0.5)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, x.float() * 0.5)


def test_a_network_that_returns_its_input_leaves_the_image_alone() -> None:
    x = torch.rand(1, 1, 4, 20, 20)
    before = x.clone()
    y = FrameSlidingWindowInferer((4, 16, 16))(x, lambda p: p)
    torch.testing.assert_close(x, before, rtol=0, atol=0)
    torch.testing.assert_close(y, before)


def test_more_channels_out_than_in() -> None:
    y = FrameSlidingWindowInferer((4, 8, 8))(torch.ones(1, 1, 5, 9, 9), lambda p: p.repeat(1, 3, 1, 1, 1))
    assert y.shape == (1, 3, 5, 9, 9)


def test_a_batch_of_series_is_each_series_by_itself() -> None:
    batch, net = torch.rand(2, 3, 1, 5, 9, 7), torch.nn.Conv3d(1, 2, 3, padding=1)
    inferer = FrameSlidingWindowInferer((4, 8, 8))
    out = inferer(MetaTensor(batch, meta={"source": "a"}), net)
    assert isinstance(out, MetaTensor)
    assert out.meta["source"] == "a"
    torch.testing.assert_close(out.as_tensor(), torch.stack([inferer(series, net) for series in batch]))


def test_reflection_folds_as_often_as_it_must() -> None:
    x = torch.arange(3.0).reshape(1, 1, 3, 1, 1)
    assert pad_to_window(x, (8, 1, 2))[0, 0, :, 0, 1].tolist() == [0, 1, 2, 1, 0, 1, 2, 1]


def test_wrong_use_is_refused() -> None:
    with pytest.raises(OptionError, match="t, h, w"):
        FrameSlidingWindowInferer((8, 8))
    with pytest.raises(LayoutError, match="shape"):
        FrameSlidingWindowInferer((8, 8, 8))(torch.ones(1, 4, 8, 8), lambda p: p)


def test_the_bar_can_be_turned_on_and_is_drawn_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inferer = FrameSlidingWindowInferer((4, 8, 8), progress=True)
    inferer(torch.ones(1, 1, 4, 16, 8), lambda p: p + 0)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    inferer(torch.ones(1, 1, 4, 16, 8), lambda p: p + 0)
    assert "%" in capsys.readouterr().err


def test_metadata_stays_and_the_network_sees_plain_tensors() -> None:
    x = MetaTensor(torch.rand(1, 1, 3, 20, 20), meta={"source": "scan"})
    kinds = set()

    def network(patch: torch.Tensor) -> torch.Tensor:
        kinds.add(type(patch))
        return patch + 0.0

    y = FrameSlidingWindowInferer((4, 16, 16))(x, network)
    assert isinstance(y, MetaTensor)
    assert y.meta["source"] == "scan"
    assert kinds == {torch.Tensor}


def test_single_axes_can_shrink() -> None:
    seen = []

    def network(patch: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(patch.shape[2:]))
        return patch + 0.0

    x = torch.randn(1, 1, 1, 9, 9)
    inferer = FrameSlidingWindowInferer((8, 16, 16), shrink_to_image=(True, False, False))
    torch.testing.assert_close(inferer(x, network), x)
    assert seen == [(1, 16, 16)]
    with pytest.raises(OptionError, match="one flag"):
        FrameSlidingWindowInferer((8, 16, 16), shrink_to_image=(True, False))


@given(extent=st.integers(1, 400), largest=st.integers(8, 128), shared=st.integers(0, 7))
def test_fitting_windows_are_as_many_and_not_larger(extent: int, largest: int, shared: int) -> None:
    """They cover the image with the overlap that was asked for, and are as small as that allows."""
    window = fitting_window(extent, largest, shared)
    count = max(-(-(extent - shared) // (largest - shared)), 1)
    needed = extent + (count - 1) * shared
    assert window <= min(largest, extent)
    assert count * window - (count - 1) * shared >= extent
    assert window in (largest, extent) or (window % 4 == 0 and count * (window - 4) < needed)


@given(
    size=st.tuples(st.integers(1, 80), st.integers(1, 300), st.integers(1, 300)),
    window=st.tuples(st.integers(2, 24), st.integers(16, 96), st.integers(16, 96)),
    share=st.floats(0, 0.4),
)
def test_fitted_windows_compute_less_in_no_more_memory(
    size: tuple[int, int, int], window: tuple[int, int, int], share: float
) -> None:
    fitted = FrameSlidingWindowInferer(window, overlap=share, shrink_to_image=True)
    plain = FrameSlidingWindowInferer(window, overlap=share)
    chosen = fitted._window_of(size)
    assert math.prod(chosen) <= math.prod(window)
    assert min(window[0], size[0]) <= chosen[0] <= min(2 * window[0], size[0])
    assert fitted.count_windows(size) * math.prod(chosen) <= plain.count_windows(size) * math.prod(window)
    frames, planes = fitted._places(size, chosen)
    assert frames[-1] + chosen[0] == size[0]
    assert max(rows.stop for rows, _ in planes) == size[1]
    assert max(columns.stop for _, columns in planes) == size[2]


@pytest.mark.parametrize(
    ("size", "window"),
    [
        ((20, 144, 144), (20, 56, 56)),  # one window along the frames instead of two
        ((1, 176, 160), (1, 64, 60)),
        ((16, 64, 64), (16, 64, 64)),
    ],
)
def test_windows_fit_the_image(size: tuple[int, int, int], window: tuple[int, int, int]) -> None:
    inferer = FrameSlidingWindowInferer((16, 64, 64), overlap=(0.25, 0.125, 0.125), shrink_to_image=True)
    assert inferer._window_of(size) == window
