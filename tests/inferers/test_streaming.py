# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The sliding window as a stream: MONAI's values, frames read once, fewer windows where memory ends."""

from __future__ import annotations

import logging

import pytest
import torch
from monai.inferers import SlidingWindowInferer

from monai_stcnnt.errors import DeviceMemoryError, LayoutError, OptionError
from monai_stcnnt.inferers import FrameSlidingWindowInferer

__all__: list[str] = []

SIZES = [(5, 20, 17), (8, 16, 16), (29, 16, 23), (40, 33, 16)]
OVERLAPS = [(0.0, 0.0, 0.0), (0.25, 0.25, 0.25), (0.5, 0.25, 0.6), (0.9, 0.0, 0.5)]


def network(channels: int = 2) -> torch.nn.Conv3d:
    return torch.nn.Conv3d(channels, 1, 3, padding=1).requires_grad_(False)


@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("overlap", OVERLAPS)
def test_values_are_those_of_monai(size: tuple[int, int, int], overlap: tuple[float, ...]) -> None:
    x, net = torch.randn(2, 2, *size), network()
    ours = FrameSlidingWindowInferer((8, 16, 16), 1, overlap)(x, net)
    theirs = SlidingWindowInferer((8, 16, 16), 1, overlap, "gaussian")(x, net)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("overlap", OVERLAPS)
@pytest.mark.parametrize("shrink", [True, False])
def test_a_stream_gives_what_the_call_gives_and_holds_one_window(
    size: tuple[int, int, int], overlap: tuple[float, ...], shrink: bool
) -> None:
    x, net = torch.randn(1, 2, *size), network()
    inferer = FrameSlidingWindowInferer((8, 16, 16), 1, overlap, shrink_to_image=shrink)
    whole = inferer(x, net)
    asked: list[int] = []
    counted: list[int] = []
    given = 0

    def read(start: int, stop: int) -> torch.Tensor:
        asked.extend(range(start, stop))
        assert stop - given <= inferer._window_of(size)[0] <= 16  # no more frames than a window has are under way
        return x[:, :, start:stop]

    for start, block in inferer.stream(read, size, net, advance=counted.append):
        assert start == given
        torch.testing.assert_close(block, whole[:, :, start : start + block.shape[2]], rtol=0, atol=0)
        given += block.shape[2]
    assert given == size[0]
    assert asked == list(range(size[0]))
    assert sum(counted) == inferer.count_windows(size)


@pytest.mark.parametrize("batch", [2, 3, 100])
def test_the_number_of_windows_at_once_changes_nothing(batch: int) -> None:
    x, net = torch.randn(2, 2, 11, 33, 21), network()
    one = FrameSlidingWindowInferer((8, 16, 16), 1)(x, net)
    torch.testing.assert_close(FrameSlidingWindowInferer((8, 16, 16), batch)(x, net), one, rtol=1e-5, atol=1e-6)


def test_a_network_that_changes_its_input_leaves_the_image_alone() -> None:
    x = torch.rand(1, 1, 9, 20, 20)
    before = x.clone()
    y = FrameSlidingWindowInferer((4, 16, 16))(x, lambda p: p.mul_(2.0))
    torch.testing.assert_close(x, before, rtol=0, atol=0)
    torch.testing.assert_close(y, 2.0 * before)


def test_where_memory_ends_fewer_windows_go_on(caplog: pytest.LogCaptureFixture) -> None:
    x, net = torch.randn(1, 2, 8, 50, 40), network()
    inferer = FrameSlidingWindowInferer((8, 16, 16), 8)
    seen: list[int] = []

    def small(patches: torch.Tensor) -> torch.Tensor:
        seen.append(len(patches))
        if len(patches) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return net(patches)

    with caplog.at_level(logging.WARNING):
        y = inferer(x, small)
    torch.testing.assert_close(y, FrameSlidingWindowInferer((8, 16, 16), 2)(x, net))
    assert seen[:3] == [8, 4, 2]
    assert max(seen[3:]) == 2
    assert [record.getMessage().split(" with ", 1)[1] for record in caplog.records] == [
        "8 windows at once; continuing with 4", "4 windows at once; continuing with 2",
    ]  # fmt: skip
    assert "out of memory" in caplog.text


def test_no_memory_for_one_window_is_an_error_that_says_so() -> None:
    def hungry(patches: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError(f"out of memory for {patches.shape}")

    with pytest.raises(DeviceMemoryError, match=r"\(8, 16, 16\).*smaller roi_size"):
        FrameSlidingWindowInferer((8, 16, 16), 4)(torch.rand(1, 1, 8, 16, 32), hungry)


def test_wrong_use_is_refused() -> None:
    with pytest.raises(OptionError, match="1 window at once"):
        FrameSlidingWindowInferer((4, 8, 8), sw_batch_size=0)
    with pytest.raises(OptionError, match="overlap"):
        FrameSlidingWindowInferer((8, 8, 8), overlap=1.0)
    with pytest.raises(LayoutError, match="must stay"):
        FrameSlidingWindowInferer((8, 8, 8))(torch.ones(1, 1, 8, 8, 8), lambda p: p[..., ::2])
