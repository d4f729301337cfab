# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of adapters: small, equal when they come back, and refused by another network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from monai_stcnnt.checkpoints import load_adapters, save_adapters
from monai_stcnnt.checkpoints.adapters import adapter_content
from monai_stcnnt.errors import CheckpointMismatchError, MissingFileError, UnreadableFileError
from monai_stcnnt.networks import STCNNTDenoiser, build_variant, inject_adapters
from monai_stcnnt.networks.lora import adapted_layers
from tests.networks.laws import SMALL

__all__: list[str] = []


def small(seed: int = 0, **options: Any) -> STCNNTDenoiser:  # noqa: ANN401
    """Make a small denoiser from a seed."""
    torch.manual_seed(seed)
    return STCNNTDenoiser(3, 2, 4, **{**SMALL, "block_strings": "T1L1", **options}).eval()


def adapted(**options: Any) -> STCNNTDenoiser:  # noqa: ANN401
    """Make one with adapters that are not zero."""
    net = small()
    inject_adapters(net, **{"rank": 2, "alpha": 3.0, **options})
    for _, layer in adapted_layers(net):
        nn.init.normal_(layer.up.weight, std=0.1)  # type: ignore[arg-type]
    return net


@pytest.mark.parametrize("targets", [("attention",), ("attention", "mixer")])
def test_saved_adapters_come_back(tmp_path: Path, targets: tuple[str, ...]) -> None:
    net, x = adapted(targets=targets, dropout=0.25), torch.randn(1, 3, 4, 16, 16)
    save_adapters(net, tmp_path / "adapters.pt")
    other = small()
    assert load_adapters(other, tmp_path / "adapters.pt") is other
    with torch.no_grad():
        torch.testing.assert_close(other(x), net(x), rtol=0, atol=0)
    assert all(layer.dropout.p == 0.25 for _, layer in adapted_layers(other))


def test_adapters_of_the_light_network_are_a_few_hundred_kilobytes(tmp_path: Path) -> None:
    net = build_variant("stcnnt_light")
    inject_adapters(net, rank=4)
    save_adapters(net, tmp_path / "adapters.pt")
    assert (tmp_path / "adapters.pt").stat().st_size < 700_000


def test_adapters_of_other_weights_are_refused_with_both_norms(tmp_path: Path) -> None:
    save_adapters(adapted(), tmp_path / "adapters.pt")
    with pytest.raises(CheckpointMismatchError, match=r"has weights of norm .* and .* in the training"):
        load_adapters(small(seed=1), tmp_path / "adapters.pt")


@pytest.mark.parametrize(
    ("options", "said"), [({"block_strings": "T0"}, "is not in this network"), ({"mixer_ratio": 2.0}, "takes")]
)
def test_adapters_of_another_network_are_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    save_adapters(adapted(), tmp_path / "adapters.pt")
    net = small(**options)
    before = list(net.state_dict())
    with pytest.raises(CheckpointMismatchError, match=said):
        load_adapters(net, tmp_path / "adapters.pt")
    assert list(net.state_dict()) == before


def test_incomplete_adapters_are_refused() -> None:
    content = adapter_content(adapted())
    content.pop(next(name for name in content if name.endswith("up.weight")))
    with pytest.raises(CheckpointMismatchError, match="missing"):
        load_adapters(small(), content)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        load_adapters(small(), tmp_path / "absent.pt")
    torch.save(small().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(UnreadableFileError, match="holds no adapters"):
        load_adapters(small(), tmp_path / "weights.pt")
    with pytest.raises(CheckpointMismatchError, match="no adapters to save"):
        save_adapters(small(), tmp_path / "none.pt")
