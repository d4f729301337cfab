# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Filtered clips for training: laws of size, level, labels and taper."""

import numpy as np
import pytest
import torch

from monai_stcnnt.data.training.clip_pool import ClipPool
from monai_stcnnt.data.training.filtered_clips import FilteredClips
from monai_stcnnt.mri.fft import fftc, ifftc


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> ClipPool:
    """Clips of a bright, smooth image without air."""
    y, x = np.mgrid[-1:1:160j, -1:1:160j]
    smooth = np.rint(150 + 80 * np.cos(2 * x) * np.cos(y)).astype(np.uint8)
    path = tmp_path_factory.mktemp("clips") / "clips.npz"
    np.savez(path, **{"train/depth/smooth_0": np.broadcast_to(smooth, (4, 160, 160))})  # type: ignore[arg-type]
    return ClipPool(path, "cpu")


def filtered(result: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """A white image with the taper on it again."""
    return ifftc(fftc(result, (-2, -1)) * label[:, 2:], (-2, -1)).real


@pytest.mark.parametrize("size", [(1, 60, 60), (5, 48, 72)])
def test_sizes_are_about_those_asked_for(pool: ClipPool, size: tuple[int, int, int]) -> None:
    """That of the band and what lies around it; a label has mean, magnitude and weights."""
    image, label = FilteredClips(pool).draw(2, size)
    assert image.shape[:2] == (2, 2)
    assert label.shape == (2, 3, *image.shape[2:])
    assert image.shape[2] == size[0]
    assert all(abs(found - asked) < 0.15 * asked for found, asked in zip(image.shape[3:], size[1:], strict=True))


class KnownTapers:
    """Draws of which every choice is a raised cosine that is known, and no mask."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.uniform, self.integers, self.standard_normal = rng.uniform, rng.integers, rng.standard_normal

    def random(self, _count: int | None = None) -> float:
        return 0.3


def test_the_noise_of_bright_images_is_white_with_the_level_of_the_map(
    pool: ClipPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of the band, where the phase of the image leaves it alone, as far as the taper is known."""
    torch.manual_seed(0)
    clips = FilteredClips(pool, (40, 40), level_error=0.0, map_prob=1.0, clean_prob=0.0, seed=1)
    monkeypatch.setattr(clips, "rng", KnownTapers(clips.rng))
    image, label = clips.draw(6, (4, 64, 64))
    weights = label[:, 2:].clamp(min=1e-3)
    clean = ifftc(fftc(label[:, :1], (-2, -1)) / weights, (-2, -1)).real
    noise = (image[:, :1] - clean) / image[:, 1:]
    power = fftc(noise, (-2, -1)).abs().square().mean((0, 1, 2))
    middle = [slice(n // 2 - n // 5, n // 2 + n // 5) for n in power.shape]
    assert float(power[middle[0], middle[1]].mean()) == pytest.approx(1, abs=0.15)


def test_the_filter_makes_the_labels(pool: ClipPool) -> None:
    """Of clips without noise, the mean is what the white image becomes; the signal is below it, least where bright."""
    clips = FilteredClips(pool, (3, 3), level_error=0.0, map_prob=0.0, clean_prob=1.0, seed=2)
    for _ in range(4):
        image, label = clips.draw(1, (2, 48, 48))
        torch.testing.assert_close(filtered(image[:, :1], label), label[:, :1], rtol=0.2, atol=0.2)
        assert float((label[:, 0] - label[:, 1]).mean()) > 0


def test_a_seed_repeats_clips(pool: ClipPool) -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        pool.rng = np.random.default_rng(3)
        drawn.append(FilteredClips(pool, seed=3).draw(2, (2, 40, 40)))
    assert all(torch.equal(*pair) for pair in zip(*drawn, strict=True))
