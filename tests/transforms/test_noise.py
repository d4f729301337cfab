# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Random phase and noise: SNR units, replay by seed, and the kinds of images that go in and come out."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.transform import Randomizable

from monai_stcnnt.errors import GFactorMapError, LayoutError, NoiseLevelError
from monai_stcnnt.mri.snr import foreground_mean
from monai_stcnnt.transforms.noise import RandMRNoise, RandMRNoised, RandSmoothPhase, RandSmoothPhased

__all__: list[str] = []

SIZE = (12, 48, 40)
KINDS: dict[str, Callable[[np.ndarray], Any]] = {"numpy": np.asarray, "tensor": torch.as_tensor, "meta": MetaTensor}


Seedable = TypeVar("Seedable", bound=Randomizable)


def seeded(transform: Seedable, seed: int) -> Seedable:
    """The transform, with its random state set."""
    transform.set_random_state(seed)
    return transform


def magnitude_clip() -> torch.Tensor:
    """A bright square on nothing, (1, T, H, W), in scanner units."""
    clip = torch.zeros(1, *SIZE)
    clip[..., 10:40, 8:32] = 700
    return clip


def complex_clip() -> torch.Tensor:
    """The square with a phase, (2, T, H, W)."""
    clip = seeded(RandSmoothPhase(), 0)(magnitude_clip())
    assert isinstance(clip, torch.Tensor)
    return clip


def tensors(values: tuple[Any, ...]) -> list[torch.Tensor]:
    """Plain tensors of any kind of image."""
    return [torch.as_tensor(np.asarray(v)) for v in values]


@pytest.mark.parametrize("kind", KINDS)
def test_phase_keeps_magnitude_and_kind(kind: str) -> None:
    clip = KINDS[kind](magnitude_clip().numpy())
    out = seeded(RandSmoothPhase(), 1)(clip)
    assert type(out) is type(clip)
    (channels,) = tensors((out,))
    assert channels.shape == (2, *SIZE)
    torch.testing.assert_close(torch.hypot(channels[0], channels[1]), magnitude_clip()[0], atol=1e-2, rtol=1e-5)
    assert float(channels[1].abs().max()) > 100


def test_phase_replays_and_can_be_off() -> None:
    first = seeded(RandSmoothPhase(), 5)
    second = seeded(RandSmoothPhase(), 5)
    a, b, c = tensors((first(magnitude_clip()), second(magnitude_clip()), second(magnitude_clip())))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert float(tensors((RandSmoothPhase(prob=0.0)(magnitude_clip()),))[0][1].abs().max()) == 0


def test_keys_share_one_phase() -> None:
    data: dict[Hashable, Any] = {"a": magnitude_clip(), "b": 2 * magnitude_clip()}
    out = seeded(RandSmoothPhased(["a", "b"]), 0)(data)
    torch.testing.assert_close(2 * out["a"], out["b"])


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (3, 4, 4), (1, 1, 3, 4, 4)])
def test_phase_needs_a_magnitude_clip(shape: tuple[int, ...]) -> None:
    with pytest.raises(LayoutError):
        RandSmoothPhase()(torch.zeros(shape))


@pytest.mark.parametrize("units", [1e-4, 1.0, 300.0])
def test_noise_is_one_and_snr_is_what_was_drawn(units: float) -> None:
    transform = seeded(RandMRNoise(snr_range=(7.0, 7.0), gfactor_prob=0.0), 3)
    noisy, clean, gmap = tensors(transform(units * complex_clip()))
    assert foreground_mean(torch.hypot(clean[0], clean[1])) == pytest.approx(7, rel=1e-4)
    assert float((noisy - clean).std()) == pytest.approx(1, abs=0.03)
    assert bool((gmap == 1).all())


def test_snr_is_drawn_log_uniformly() -> None:
    transform = seeded(RandMRNoise(snr_range=(0.5, 32.0), gfactor_prob=0.0, coloring_prob=0.0), 0)
    clip = complex_clip()[:, :1, ::4, ::4]
    drawn = []
    for _ in range(150):
        clean = tensors(transform(clip))[1]
        drawn.append(np.log2(foreground_mean(torch.hypot(clean[0], clean[1]))))
    assert -1 <= min(drawn) < -0.5
    assert 4.5 < max(drawn) <= 5
    assert np.mean(drawn) == pytest.approx(2, abs=0.5)


def test_noise_follows_the_map() -> None:
    transform = seeded(RandMRNoise(gfactor_prob=1.0), 0)
    for _ in range(3):
        noisy, clean, gmap = tensors(transform(complex_clip()))
        assert gmap.shape == (1, *SIZE)
        assert float(gmap.min()) >= 1
        assert float(((noisy - clean) / gmap).std()) == pytest.approx(1, abs=0.04)


def test_given_map_is_used() -> None:
    gmap = torch.linspace(1, 5, SIZE[2]).expand(1, 1, SIZE[1], SIZE[2])
    noisy, clean, used = tensors(seeded(RandMRNoise(coloring_prob=0.0), 0)(complex_clip(), gmap=gmap))
    torch.testing.assert_close(used, gmap.expand(1, *SIZE))
    spread = (noisy - clean).std((0, 1, 2))
    torch.testing.assert_close(spread, gmap[0, 0, 0], rtol=0.1, atol=0)
    with pytest.raises(GFactorMapError):
        RandMRNoise()(complex_clip(), gmap=torch.zeros(1, *SIZE))


@pytest.mark.parametrize("channels", [1, 2])
def test_magnitude_mode_is_rician(channels: int) -> None:
    clip = magnitude_clip() if channels == 1 else complex_clip()
    transform = seeded(RandMRNoise((4.0, 4.0), mode="magnitude", gfactor_prob=0.0), 0)
    noisy, clean, _ = tensors(transform(clip))
    assert noisy.shape == clean.shape == (1, *SIZE)
    assert float(noisy.min()) >= 0
    air = noisy[clean < 1e-3]
    assert float(air.square().mean()) == pytest.approx(2, rel=0.06)
    assert float(noisy[clean > 1].square().mean()) == pytest.approx(16 + 2, rel=0.03)


def test_reference_keeps_an_empty_crop_empty() -> None:
    crop = complex_clip()[:, :, :8, :8] + 1e-3
    clean = tensors(RandMRNoise((10.0, 10.0))(crop, reference=700.0))[1]
    assert float(clean.abs().max()) < 1e-3
    noisy, clean, _ = tensors(RandMRNoise(gfactor_prob=0.0)(torch.zeros(2, *SIZE)))
    assert float(clean.abs().max()) == 0
    assert float(noisy.std()) == pytest.approx(1, abs=0.05)


def test_replay_by_seed_and_again_without_drawing() -> None:
    first, second = (seeded(RandMRNoise(coloring_prob=0.5), 9) for _ in range(2))
    a, b = tensors(first(complex_clip())), tensors(second(complex_clip()))
    again, other = tensors(first(complex_clip(), randomize=False)), tensors(second(complex_clip()))
    for x, y, z in zip(a, b, again, strict=True):
        assert torch.equal(x, y)
        assert torch.equal(x, z)
    assert not torch.equal(a[0], other[0])


def test_signal_passes_the_filter_on_request() -> None:
    kwargs: dict[str, Any] = {"snr_range": (9.0, 9.0), "gfactor_prob": 0.0, "coloring_prob": {"resolution": 1.0}}
    sharp = tensors(seeded(RandMRNoise(**kwargs), 2)(complex_clip()))[1]
    blurred = tensors(seeded(RandMRNoise(filter_signal_prob=1.0, **kwargs), 2)(complex_clip()))[1]
    assert not torch.allclose(sharp, blurred, atol=0.1)
    torch.testing.assert_close(sharp.mean((2, 3)), blurred.mean((2, 3)), atol=1e-3, rtol=1e-3)


def test_a_clean_clip_stays_or_is_the_mean_of_noisy_magnitudes() -> None:
    options: dict[str, Any] = {"snr_range": (4.0, 4.0), "gfactor_prob": 1.0, "coloring_prob": 0.0}
    noisy, clean, gmap = tensors(seeded(RandMRNoise(clean_prob=1.0, **options), 3)(complex_clip()))
    assert torch.equal(noisy, clean)
    assert gmap.max() > 1
    mean, clean, _ = tensors(seeded(RandMRNoise(mode="magnitude", clean_prob=1.0, **options), 3)(complex_clip()))
    noise = RandMRNoise(mode="magnitude", coloring_prob=0.0, snr_range=(4.0, 4.0))
    repeats = torch.stack([tensors(seeded(noise, seed)(complex_clip(), gmap=gmap))[0] for seed in range(60)])
    torch.testing.assert_close(repeats.mean((0, 2, 3, 4)), mean.mean((1, 2, 3)), atol=0.02, rtol=0)
    assert (mean > clean).all()
    drawn = RandMRNoise(clean_prob=0.5)
    kept = [torch.equal(*tensors(seeded(drawn, seed)(complex_clip()))[:2]) for seed in range(20)]
    assert 0 < sum(kept) < 20
    with pytest.raises(ValueError, match="clean_prob"):
        RandMRNoise(clean_prob=1.5)


@pytest.mark.parametrize("kind", KINDS)
def test_dictionary_form_writes_label_and_map(kind: str) -> None:
    data: dict[Hashable, Any] = {"image": KINDS[kind](complex_clip().numpy()), "reference": 1400.0}
    out = seeded(RandMRNoised("image", snr_range=(10.0, 10.0), gfactor_prob=1.0), 0)(data)
    assert sorted(map(str, out)) == ["gmap", "image", "label", "reference"]
    assert {type(out[k]) for k in ("gmap", "image", "label")} == {type(data["image"])}
    assert out["image"].dtype == data["image"].dtype
    label = torch.as_tensor(np.asarray(out["label"]))
    assert foreground_mean(torch.hypot(label[0], label[1])) == pytest.approx(5, rel=1e-3)
    assert out["gmap"].shape == (1, *SIZE)


def test_reference_from_the_metadata() -> None:
    image = MetaTensor(complex_clip(), meta={"reference": 7000.0})
    label = RandMRNoised("image", snr_range=(10.0, 10.0))({"image": image})["label"]
    assert foreground_mean(torch.hypot(*torch.as_tensor(label.numpy()))) == pytest.approx(1, rel=1e-3)


def test_composition_replays_from_one_seed() -> None:
    chain = Compose([RandSmoothPhased("image"), RandMRNoised("image")])
    outs = [seeded(chain, 4)({"image": magnitude_clip()}) for _ in range(2)]
    assert torch.equal(outs[0]["image"], outs[1]["image"])


@pytest.mark.parametrize("snr_range", [(0.0, 1.0), (5.0, 2.0), (1.0, float("inf")), (-1.0, 3.0)])
def test_wrong_snr_range(snr_range: tuple[float, float]) -> None:
    with pytest.raises(NoiseLevelError, match="snr_range"):
        RandMRNoise(snr_range)


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="mode"):
        RandMRNoise(mode="phase")  # type: ignore[arg-type] # the point of the test
    with pytest.raises(ValueError, match="Coloring step"):
        RandMRNoise(coloring_prob={"blur": 0.1})  # type: ignore[dict-item] # the point of the test
    with pytest.raises(ValueError, match="one key"):
        RandMRNoised(["a", "b"])
    with pytest.raises(LayoutError, match="RandSmoothPhase"):
        RandMRNoise()(magnitude_clip())
    assert RandMRNoised("image", allow_missing_keys=True)({}) == {}
