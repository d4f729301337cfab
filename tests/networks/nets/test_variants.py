# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Named networks: every row builds, the published sizes, overrides."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks import VARIANTS, HRNetV2, build_variant

__all__: list[str] = []


def without_memory(name: str, **overrides: Any) -> Any:  # noqa: ANN401
    """Build a network whose parameters have shapes but no values."""
    needed = {"spatial_dims": 2, "in_channels": 3, "out_channels": 19} if VARIANTS[name][0] is HRNetV2 else {}
    with torch.device("meta"):
        return build_variant(name, **{**needed, **overrides})


def count(net: nn.Module) -> int:
    """Count parameters."""
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("name", VARIANTS)
def test_every_row_builds(name: str) -> None:
    assert count(without_memory(name)) > 100_000


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("snraware_small", 27_701_329),
        ("snraware_medium", 55_110_688),
        ("snraware_large", 109_929_406),
        ("hrnetv2_w18_small_v2", 3_939_579),
        ("hrnetv2_w18", 9_641_119),
        ("hrnetv2_w48", 65_859_379),
    ],
)
def test_published_sizes(name: str, parameters: int) -> None:
    assert count(without_memory(name)) == parameters


def test_names_of_the_published_small_network() -> None:
    names = list(without_memory("snraware_small").state_dict())
    assert "backbone.stages.1.blocks.0.cells.2.attn.position_bias.table" in names
    assert not [name for name in names if name.endswith(("mask", "index"))]


def test_magnitude_forms_take_and_return_magnitudes() -> None:
    for name in ("stcnnt_light", "stcnnt_base"):
        complex_net, magnitude_net = without_memory(name), without_memory(f"{name}_magnitude")
        assert (complex_net.in_channels, complex_net.out_channels) == (3, 2)
        assert (magnitude_net.in_channels, magnitude_net.out_channels) == (2, 1)


def test_real_images_may_be_negative_and_have_no_bias() -> None:
    """The first guess of a constant is that constant, for magnitudes less their bias."""
    x = torch.cat([torch.full((1, 1, 4, 16, 16), value) for value in (-3.0, 1.0)], 1)
    with torch.inference_mode():
        torch.testing.assert_close(build_variant("stcnnt_light_real").eval()(x), x[:, :1], rtol=0, atol=2e-3)
        assert float(build_variant("stcnnt_light_magnitude").eval()(x).min()) >= 0


def test_light_network_takes_any_size_and_starts_by_removing_noise() -> None:
    torch.manual_seed(0)
    x = torch.cat([torch.randn(1, 2, 3, 17, 30), torch.ones(1, 1, 3, 17, 30)], dim=1)
    y = build_variant("stcnnt_light").eval()(x)
    assert y.shape == (1, 2, 3, 17, 30)
    assert y.std() < 0.3


def test_overrides_win() -> None:
    assert count(without_memory("stcnnt_light", channels=32)) > count(without_memory("stcnnt_light"))


def test_table_is_not_changed_by_building() -> None:
    before = {name: dict(options) for name, (_, options) in VARIANTS.items()}
    without_memory("snraware_small", channels=128, backbone="unet")
    assert before == {name: options for name, (_, options) in VARIANTS.items()}


def test_unknown_name_is_refused_with_the_names() -> None:
    with pytest.raises(NetworkConfigError, match=r"'snraware_tiny'.*snraware_small"):
        build_variant("snraware_tiny")
