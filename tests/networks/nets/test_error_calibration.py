# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the variance that a denoiser states of its own error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from monai_stcnnt.errors import OptionError
from monai_stcnnt.networks.nets import (
    ChannelRouter,
    CheckedDenoiser,
    ErrorCalibration,
    UncertainDenoiser,
    build_variant,
    load_calibrations,
)

__all__: list[str] = []


def guided(kind: str) -> Any:  # noqa: ANN401 - a network of the table
    """A tiny guided denoiser with a head that answers, in evaluation mode."""
    torch.manual_seed(0)
    net: Any = build_variant("stcnnt_light" + ("" if kind == "complex" else f"_{kind}"), channels=4)
    torch.nn.init.normal_(net.head.conv.weight, std=0.02)
    return net.eval()


def calibration(seed: int = 0) -> ErrorCalibration:
    torch.manual_seed(seed)
    return ErrorCalibration().eval()


def image(channels: int, gmap: float = 1.0) -> torch.Tensor:
    """A step in noise with its g-factor map, (1, channels + 1, 4, 16, 20)."""
    torch.manual_seed(1)
    clean = torch.zeros(1, channels, 4, 16, 20)
    clean[..., 10:] = 8
    return torch.cat([clean + gmap * torch.randn_like(clean), torch.full((1, 1, 4, 16, 20), gmap)], 1)


@pytest.mark.parametrize(("kind", "channels"), [("complex", 2), ("magnitude", 1)])
@torch.inference_mode()
def test_the_result_stays_and_the_variance_is_its_own_channel(kind: str, channels: int) -> None:
    net, x = guided(kind), image(channels)
    both = net.with_variance(x, calibration())
    torch.testing.assert_close(both[:, :-1], net(x))
    assert both.shape[1] == channels + 1
    assert bool((both[:, -1] > 0).all())
    assert float(both[:, -1].std()) > 0


@torch.inference_mode()
def test_the_variance_is_in_the_units_of_the_image() -> None:
    """Image and map twice as large: four times the variance."""
    net, x = guided("magnitude"), image(1)
    once, twice = (net.with_variance(one, calibration())[:, -1] for one in (x, 2 * x))
    torch.testing.assert_close(twice, 4 * once, rtol=0.1, atol=1e-5)  # the network sees the map


@torch.inference_mode()
def test_each_network_has_its_own_calibration_and_magnitudes_stay_positive() -> None:
    router = ChannelRouter([guided("magnitude"), guided("complex")])
    both = UncertainDenoiser(router, [calibration(0), calibration(1)])
    for index, channels in enumerate((1, 2)):
        x = image(channels)
        expected = router.networks[index].with_variance(x, both.calibrations[index])  # type: ignore[operator]
        torch.testing.assert_close(both(x), expected)
    dark = image(1)
    dark[:, 0] -= 9
    out, bare = CheckedDenoiser(both)(dark), both(dark)
    assert float(bare[:, 0].min()) < 0
    torch.testing.assert_close(out[:, 0], bare[:, 0].maximum(dark[:, 0].clamp(max=0)))
    torch.testing.assert_close(out[:, 1], bare[:, 1])


@torch.inference_mode()
def test_real_images_have_a_calibration_of_their_own() -> None:
    router = ChannelRouter([guided("complex")], guided("real"))
    both = UncertainDenoiser(router, [calibration(0), calibration(1)])
    x = image(2)
    x[:, 1] = 0
    expected = guided("real").with_variance(x[:, ::2], both.calibrations[1])
    torch.testing.assert_close(both(x), torch.stack([expected[:, 0], 0 * expected[:, 0], expected[:, 1]], 1))


def test_a_network_without_estimates_is_refused() -> None:
    net: Any = build_variant("snraware_small", channels=8, num_heads=2, img_size=(4, 16, 16))
    with pytest.raises(OptionError, match="save_uncertainty"):
        UncertainDenoiser(ChannelRouter([net]), [calibration()])


def test_numbers_come_back_from_json(tmp_path: Path) -> None:
    one = calibration()
    one.mean, one.spread = torch.randn_like(one.mean), torch.rand_like(one.spread) + 1
    file = tmp_path / "uncertainty.json"
    file.write_text(json.dumps({"some": one.as_dict()}))
    [back] = load_calibrations(file, ["some"])
    clues = torch.randn(5, len(one.mean))
    torch.testing.assert_close(back.of_clues(clues), one.of_clues(clues).detach(), rtol=1e-3, atol=1e-3)
    for names, wrong in ((["other"], file), ([], file), (["some"], tmp_path / "absent.json")):
        with pytest.raises(OptionError, match="no calibration of errors"):
            load_calibrations(wrong, names)
