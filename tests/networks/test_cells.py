# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Cells: their formulas, their mixers, and that every option has an effect."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.block_string import CELL_CODES, CellSpec
from monai_stcnnt.networks.blocks import CELL_OPTIONS
from monai_stcnnt.networks.cells import AttentionCell, ConvMixer, PatchMixer, cell_windows
from monai_stcnnt.networks.layers.frames import frames_at_once
from monai_stcnnt.networks.layers.windows import WindowSize
from tests.networks.laws import assert_differ, check_gradients

__all__: list[str] = []

SIZE = (4, 8, 8)
OPTIONS: dict[str, Any] = {
    "window_size": (2, 4, 4),
    "patch_size": (1, 2, 2),
    "num_heads": 2,
    "mixer_ratio": 1.0,
    "norm": "instance2d",
    "act": "gelu",
}


def make(code: str, in_channels: int = 4, **options: Any) -> AttentionCell:  # noqa: ANN401
    """Make a small cell that ends with 4 channels."""
    return AttentionCell(CELL_CODES[code], in_channels, 4, SIZE, **{**OPTIONS, **options}).eval()


@pytest.mark.parametrize("in_channels", [3, 4])
@pytest.mark.parametrize("code", ["T1", "L0", "C2"])
def test_sequential_formula(code: str, in_channels: int) -> None:
    cell: Any = make(code, in_channels, norm="layer")
    x = torch.randn(2, 4, in_channels, 8, 8)
    y = (x if in_channels == 4 else cell.proj(x)) + cell.attn(cell.norm1(x))
    if code != "L0":
        y = y + cell.mixer(cell.norm2(y))
    torch.testing.assert_close(cell(x), y)


@pytest.mark.parametrize("in_channels", [3, 4])
@pytest.mark.parametrize("code", ["T1", "L0", "V2"])
def test_parallel_formula(code: str, in_channels: int) -> None:
    cell: Any = make(code, in_channels, norm="layer", cell_type="parallel")
    x = torch.randn(2, 4, in_channels, 8, 8)
    n = cell.norm1(x)
    y = (x if in_channels == 4 else cell.proj(x)) + cell.attn(n)
    torch.testing.assert_close(cell(x), y if code == "L0" else y + cell.mixer(n))
    assert cell.norm2 is None


@pytest.mark.parametrize("code", CELL_CODES)
def test_digit_says_whether_there_is_a_mixer(code: str) -> None:
    assert (make(code).mixer is None) == (code in ("T0", "F0", "L0", "G0"))


@pytest.mark.parametrize(
    ("code", "patch"),
    [("T1", None), ("C3", None), ("L1", (1, 2, 2)), ("G3", (1, 2, 2)), ("V3", (2, 4, 4)), ("S3", (1, 1, 1))],
)
def test_linear_mixer_works_on_the_patches_of_the_attention(code: str, patch: tuple[int, int, int] | None) -> None:
    mixer = make(code, mixer="linear").mixer
    if patch is None:
        assert isinstance(mixer, ConvMixer)
    else:
        assert isinstance(mixer, PatchMixer)
        assert mixer.patch == patch


def test_patch_mixer_is_a_convolution_without_overlap() -> None:
    mixer = PatchMixer(3, 3, 2.0, "gelu", (1, 2, 2))
    x = torch.randn(1, 2, 3, 6, 7)
    y = mixer(x)
    assert y.shape == x.shape
    token = x[0, 1, :, 2:4, 4:6].permute(1, 2, 0).flatten()
    wanted = mixer.linear2(mixer.act(mixer.linear1(token))).unflatten(0, (2, 2, 3)).permute(2, 0, 1)
    torch.testing.assert_close(y[0, 1, :, 2:4, 4:6], wanted)


def test_global_cells_halve_their_windows_but_not_their_patches() -> None:
    wanted = WindowSize((2, 8, 8), (1, 4, 4))
    assert cell_windows(CellSpec("global"), (4, 32, 16), wanted) == WindowSize((2, 4, 4), (1, 4, 4))
    assert cell_windows(CellSpec("global", 3), (4, 32, 16), wanted) == wanted
    assert cell_windows(CellSpec("local"), (4, 32, 16), wanted) == wanted
    one = WindowSize((1, 4, 4), (1, 4, 4))
    assert cell_windows(CellSpec("global"), (1, 8, 8), one) == one


@pytest.mark.parametrize("cell_type", ["sequential", "parallel"])
@pytest.mark.parametrize("code", ["T1", "L1", "G1", "V2", "s2", "S3", "C2"])
def test_inference_in_pieces_equals_the_whole(monkeypatch: pytest.MonkeyPatch, code: str, cell_type: Any) -> None:  # noqa: ANN401
    monkeypatch.setattr(frames_at_once, "__defaults__", (1,))
    x = torch.randn(2, 4, 4, 7, 9)
    before = x.clone()
    for options in ({"norm": "batch2d"}, {"qk_stride": 1 if code in ("s2", "S3") else 2}):
        cell = make(code, cell_type=cell_type, **options)
        whole = cell(x)
        with torch.no_grad():
            torch.testing.assert_close(cell(x), whole)
    torch.testing.assert_close(x, before, rtol=0, atol=0)


@pytest.mark.parametrize("cell_type", ["sequential", "parallel"])
@pytest.mark.parametrize("mixer", ["conv", "linear"])
@pytest.mark.parametrize("code", CELL_CODES)
def test_gradient_reaches_every_parameter(code: str, mixer: Any, cell_type: Any) -> None:  # noqa: ANN401
    check_gradients(make(code, 3, mixer=mixer, cell_type=cell_type), torch.randn(2, 4, 3, 8, 8))


FLIPS: dict[str, list[tuple[str, Any, dict[str, Any]]]] = {
    "window_size": [("L1", (2, 2, 2), {}), ("L3", (1, 4, 4), {}), ("V2", 2, {}), ("S3", (4, 4, 4), {})],
    "patch_size": [("L1", (1, 4, 4), {}), ("L3", (2, 2, 2), {})],
    "num_heads": [("T1", 4, {}), ("V3", 4, {}), ("G1", {"global": 1, "vit": 8}, {})],
    "cell_type": [("T1", "parallel", {}), ("C2", "parallel", {})],
    "norm": [("T1", norm, {}) for norm in ("layer", "layer3d", "batch2d", "batch3d", "instance3d", "none")],
    "act": [("T1", "prelu", {}), ("C3", "relu", {}), ("L1", ("leakyrelu", {"negative_slope": 0.1}), {})],
    "mixer": [("L1", "linear", {}), ("S2", "linear", {})],
    "mixer_ratio": [("T1", 2.0, {})],
    "qkv": [("L1", "linear", {}), ("V3", "linear", {})],
    "similarity": [("T1", "dot", {}), ("G1", "normalized", {}), ("S3", "dot", {})],
    "position_bias": [("L1", "none", {}), ("V2", "before_softmax", {})],
    "qk_stride": [("T1", 2, {}), ("L1", 2, {})],
    "temporal_heads": [("T1", "pixel", {"num_heads": 8})],
    "causal": [("T1", True, {})],
    "output_proj": [("T1", False, {}), ("G3", False, {})],
    "attention_dropout": [("T1", 0.5, {}), ("L1", 0.5, {})],
    "drop_path": [("T1", 0.5, {}), ("C2", 0.5, {})],
    "kernel_size": [("T1", 5, {}), ("C3", 1, {}), ("G1", 1, {})],
    "mixer_kernel_size": [("T1", 5, {}), ("L1", 1, {})],
}


def test_every_option_is_flipped_below() -> None:
    assert set(FLIPS) == CELL_OPTIONS


@pytest.mark.parametrize(
    ("option", "code", "value", "base"), [(o, *flip) for o, flips in FLIPS.items() for flip in flips]
)
def test_every_option_has_an_effect(option: str, code: str, value: Any, base: dict[str, Any]) -> None:  # noqa: ANN401
    if option == "temporal_heads":
        with pytest.raises(NetworkConfigError, match="num_heads=8"):
            make(code, **base)
        make(code, temporal_heads=value, **base)
        return
    assert_differ(lambda **options: make(code, **options), base, {option: value}, torch.randn(3, 4, 4, 8, 8))


@pytest.mark.parametrize(
    "options",
    [
        {"cell_type": "serial"},
        {"mixer": "mlp"},
        {"mixer_ratio": 0.1},
        {"mixer_ratio": 0.01, "mixer": "linear"},
        {"norm": "group"},
        {"drop_path": 1.0},
        {"attention_dropout": -0.5},
        {"num_heads": 3},
        {"window_size": 0},
        {"kernel_size": 2},
    ],
)
def test_wrong_options_are_refused_with_their_value(options: dict[str, Any]) -> None:
    with pytest.raises(NetworkConfigError, match=str(next(iter(options.values())))):
        make("L1", **options)


@pytest.mark.parametrize(
    ("heads", "said"),
    [({"vit": 8}, "num_heads names vit, but the block has a local cell"), ({"locale": 2}, "got 'locale'")],
)
def test_heads_of_kinds_that_lack_or_do_not_exist_are_refused(heads: dict[str, int], said: str) -> None:
    with pytest.raises(NetworkConfigError, match=said):
        make("L1", num_heads=heads)
