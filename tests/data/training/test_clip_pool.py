# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Clean clips from a packed file: sizes, units, reproducibility."""

from pathlib import Path

import numpy as np
import pytest
import torch

from monai_stcnnt.data.training.clip_pool import ClipPool, resized
from monai_stcnnt.errors import UnreadableFileError
from monai_stcnnt.tensors import reflect_index


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with one item of each kind for training."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:40j, -1:1:36j]
    disc = (y**2 + x**2 < 0.7).astype(np.uint8)
    series = np.stack([disc * (150 + 10 * t) for t in range(6)]).astype(np.uint8)
    labels = np.broadcast_to(disc, (30, 40, 36)) * rng.integers(1, 5, (30, 40, 36))
    path = tmp_path_factory.mktemp("clips") / "clips.npz"
    np.savez_compressed(
        path,
        **{  # type: ignore[arg-type]
            "train/time/a_0": series,
            "train/time/a_1": series[::-1],
            "train/depth/b_all": series,
            "train/cubic/c_all": series.repeat(4, 0),
            "train/labels/head_1": labels.astype(np.uint8),
        },
    )
    return path


@pytest.mark.parametrize("kind", ["time", "depth", "cubic", "labels"])
@pytest.mark.parametrize("size", [(1, 16, 16), (9, 20, 12)])
def test_clips_have_the_size_and_the_unit_that_were_asked_for(
    packed: Path, kind: str, size: tuple[int, int, int]
) -> None:
    """Any size, also more frames than there are; never negative; the foreground has a mean of 1."""
    clips = ClipPool(packed, "cpu", kinds={kind: 1.0}).draw(3, size)
    assert clips.shape == (3, *size)
    assert torch.isfinite(clips).all()
    assert (clips >= 0).all()
    for clip in clips:
        inside = clip[clip > 0.1 * torch.quantile(clip, 0.99)]
        assert float(inside.mean()) == pytest.approx(1.0, rel=0.02)


def test_a_seed_repeats_clips_and_another_does_not(packed: Path) -> None:
    """Real images are drawn from the seed alone."""
    kinds = {"time": 0.5, "cubic": 0.5}
    first, again, other = (ClipPool(packed, "cpu", seed=s, kinds=kinds).draw(2, (3, 16, 16)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_contrasts_of_label_maps_differ(packed: Path) -> None:
    """The same map gives other images each time."""
    one, two = ClipPool(packed, "cpu", kinds={"labels": 1.0}).draw(2, (2, 24, 24))
    assert not torch.allclose(one, two, atol=0.1)


def test_series_can_be_left_out(packed: Path) -> None:
    """And a kind that has no other; the shares of the rest add up to one."""
    pool = ClipPool(packed, "cpu")
    pool.leave_out(["a", "b"])
    assert pool.kinds == ["cubic", "labels"]
    assert sum(pool.shares) == pytest.approx(1)
    assert pool.draw(4, (1, 16, 16)).shape == (4, 1, 16, 16)
    with pytest.raises(UnreadableFileError, match="No clips are left"):
        pool.leave_out(["c", "head"])


def test_a_file_without_such_clips_is_refused(packed: Path) -> None:
    """There are none for validation in it."""
    with pytest.raises(UnreadableFileError, match="validation"):
        ClipPool(packed, "cpu", "validation")


def test_places_are_folded_back_at_the_ends() -> None:
    """As a reflection, without the end twice; one frame is repeated."""
    cpu = torch.device("cpu")
    assert reflect_index(4, 5, cpu, 2).tolist() == [2, 3, 2, 1, 0]
    assert reflect_index(1, 3, cpu).tolist() == [0, 0, 0]


def test_resizing_keeps_a_constant_and_the_mean() -> None:
    """By area where the image gets smaller."""
    frames = torch.rand(2, 32, 32)
    assert torch.allclose(resized(torch.ones(1, 9, 9), (5, 7)), torch.ones(1, 5, 7))
    assert float(resized(frames, (16, 16)).mean()) == pytest.approx(float(frames.mean()), abs=0.01)
