# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the random changes of noise-free clips."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from monai_stcnnt.errors import ImageSizeError, LayoutError
from monai_stcnnt.mri.fft import fftc
from monai_stcnnt.mri.phantom import cine_phantom, random_shapes
from monai_stcnnt.transforms import (
    RandBandLimit,
    RandBandLimitd,
    RandFrameShuffle,
    RandFrameShuffled,
    RandMatrixSize,
    RandMatrixSized,
    RandSimulatedClip,
    RandSimulatedClipd,
)


def apply(transform: Any, clip: torch.Tensor, seed: int = 0) -> torch.Tensor:  # noqa: ANN401 - any of the transforms
    result = transform.set_random_state(seed)(clip)
    assert isinstance(result, torch.Tensor)
    return result


def smooth_clip(size: int = 64) -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    return torch.exp(-8 * (x**2 + y**2)).expand(1, 3, -1, -1).clone()


def heart(channels: int) -> torch.Tensor:
    image = cine_phantom((4, 64, 64)).image
    return torch.view_as_real(image).movedim(-1, 0) if channels == 2 else image.abs()[None]


def outer_energy(clip: torch.Tensor, share: float) -> float:
    """Energy beyond the middle ``share`` of the k-space of a clip whose edges are windowed, relative to all."""
    window = torch.hann_window(clip.shape[-1], periodic=False)
    image = torch.complex(clip[0], clip[1]) if clip.shape[0] == 2 else clip[0].to(torch.complex64)
    power = fftc(image * window[:, None] * window, (-2, -1)).abs().square()
    keep = int(share * clip.shape[-1] / 2)
    middle = clip.shape[-1] // 2
    inner = power[:, middle - keep : middle + keep + 1, middle - keep : middle + keep + 1]
    return float(1 - inner.sum() / power.sum())


@pytest.mark.parametrize("elliptic", [0.0, 1.0])
def test_a_band_limit_empties_the_outer_k_space_and_keeps_the_rest(elliptic: float) -> None:
    clip = heart(2)
    limited = apply(RandBandLimit((0.5, 0.5), elliptic, prob=1.0), clip)
    assert limited.shape == clip.shape
    assert outer_energy(limited, 0.6) < 0.05 * outer_energy(clip, 0.6)
    assert float((limited - clip).square().mean()) < 0.01 * float(clip.square().mean())
    smooth = smooth_clip()
    torch.testing.assert_close(apply(RandBandLimit((0.5, 0.5), elliptic, 1.0), smooth), smooth, atol=1e-3, rtol=0)


def test_band_limited_magnitudes_are_not_negative() -> None:
    assert float(apply(RandBandLimit((0.4, 0.6), prob=1.0), heart(1)).min()) >= 0


@pytest.mark.parametrize("channels", [1, 2])
def test_a_clip_is_left_alone_with_probability_zero(channels: int) -> None:
    clip = heart(channels)
    for transform in (RandBandLimit(prob=0), RandMatrixSize((64, 64), prob=0), RandFrameShuffle(prob=0)):
        assert torch.equal(apply(transform, clip), clip)
    assert torch.equal(apply(RandSimulatedClip(prob=0), clip[:1]), clip[:1])


@pytest.mark.parametrize("factor", [0.75, 1.5])
def test_another_matrix_shows_the_same_image_in_other_pixels(factor: float) -> None:
    fine = smooth_clip(96)
    result = apply(RandMatrixSize((64, 64), (factor, factor), prob=1.0), fine)[0, 0]
    expected = torch.nn.functional.interpolate(fine[:, 0][None], scale_factor=factor, mode="bicubic")[0, 0]
    start = (expected.shape[-1] - 64) // 2
    torch.testing.assert_close(result, expected[start : start + 64, start : start + 64], atol=0.04, rtol=0)
    assert float(result.max()) == pytest.approx(1, abs=0.02)


def test_a_larger_matrix_has_no_new_detail() -> None:
    clip = heart(2)
    larger = apply(RandMatrixSize((64, 64), (2.0, 2.0), prob=1.0), clip)
    assert outer_energy(larger, 0.6) < 0.01 * outer_energy(clip, 0.6)


def test_clips_that_are_too_small_for_the_matrix_are_refused() -> None:
    with pytest.raises(ImageSizeError, match="Cut larger clips"):
        apply(RandMatrixSize((64, 64), (0.5, 0.5), prob=1.0), heart(1))


def test_shuffled_frames_are_the_same_frames() -> None:
    clip = torch.arange(12.0).reshape(1, 12, 1, 1)
    orders = {tuple(apply(RandFrameShuffle(prob=1.0), clip, seed).flatten().tolist()) for seed in range(5)}
    assert len(orders) == 5
    assert all(sorted(order) == list(range(12)) for order in orders)


@pytest.mark.parametrize("kind", ["time", "depth", "cine"])
def test_simulated_clips_take_the_place_of_a_clip(kind: Any) -> None:  # noqa: ANN401 - a literal
    given: dict[Any, Any] = {"image": torch.zeros(1, 3, 32, 40), "reference": 7.0}
    first, again, other = (
        RandSimulatedClipd("image", kinds=[kind], prob=1.0).set_random_state(seed)(given) for seed in (0, 0, 1)
    )
    assert first["image"].shape == (1, 3, 32, 40)
    assert float(first["image"].min()) >= 0
    assert torch.equal(first["image"], again["image"])
    assert not torch.equal(first["image"], other["image"])
    assert 0 < first["reference"] < 2
    assert given["reference"] == 7.0
    if kind == "time":
        assert not torch.equal(first["image"][:, 0], first["image"][:, 1])


def test_a_clip_that_is_kept_keeps_its_reference() -> None:
    given: dict[Any, Any] = {"image": torch.ones(1, 3, 32, 40), "reference": 7.0}
    result = RandSimulatedClipd("image", prob=0.0)(given)
    assert result["reference"] == 7.0
    assert torch.equal(result["image"], given["image"])


@pytest.mark.parametrize(
    "transform",
    [
        RandBandLimitd(["image", "label"], prob=1.0),
        RandMatrixSized(["image", "label"], (32, 32), prob=1.0),
        RandFrameShuffled(["image", "label"], prob=1.0),
        RandSimulatedClipd(["image", "label"], prob=1.0),
    ],
)
def test_all_keys_get_the_same_and_the_seed_decides(transform: Any) -> None:  # noqa: ANN401 - any of the transforms
    clip = random_shapes(np.random.RandomState(0), (6, 64, 64))[None]
    first, again, other = (transform.set_random_state(seed)({"image": clip, "label": clip}) for seed in (5, 5, 6))
    assert torch.equal(first["image"], first["label"])
    assert torch.equal(first["image"], again["image"])
    assert not torch.equal(first["image"], other["image"])


@pytest.mark.parametrize(
    "build",
    [
        lambda: RandBandLimit((0.0, 1.0)),
        lambda: RandBandLimit((0.5, 1.5)),
        lambda: RandMatrixSize((8, 8), (0.0, 1.0)),
        lambda: RandSimulatedClip(()),
        lambda: RandSimulatedClip(("sheep",)),  # type: ignore[arg-type]
    ],
)
def test_options_without_sense_are_refused(build: Any) -> None:  # noqa: ANN401 - a constructor
    with pytest.raises(ValueError, match=r"Give two|Choose among"):
        build()


def test_what_is_no_clip_is_refused() -> None:
    for transform in (RandBandLimit(), RandMatrixSize((4, 4)), RandFrameShuffle(), RandSimulatedClip()):
        with pytest.raises(LayoutError, match=r"\(C, T, H, W\)"):
            apply(transform, torch.zeros(3, 4, 8, 8))
    with pytest.raises(LayoutError, match="magnitude clip"):
        apply(RandSimulatedClip(), torch.zeros(2, 4, 8, 8))
