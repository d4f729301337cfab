# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Bundles in the layout of Hugging Face are loaded by MONAI from there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from monai.bundle import load

from monai_stcnnt.errors import OutputNotWritableError
from tools.hugging_face import BUNDLES, lay_out

__all__: list[str] = []


@pytest.mark.filterwarnings("ignore:Detected deprecated name:UserWarning", "ignore:parsing config_file:UserWarning")
@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_is_loaded_from_its_repository(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    repository = lay_out(name, tmp_path)
    _, head, card = (repository / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert yaml.safe_load(head)["license"] == "apache-2.0"
    assert card.strip().startswith("#")
    network = load(name, bundle_dir=str(tmp_path), workflow_type="inference", source="huggingface_hub", device="cpu")
    weights = torch.load(repository / "models" / "model.pt", weights_only=True)
    assert isinstance(network, torch.nn.Module)
    state = network.state_dict()
    assert set(state) == set(weights)
    assert all(torch.equal(state[key], value) for key, value in weights.items())
    with pytest.raises(OutputNotWritableError, match=name):
        lay_out(name, tmp_path)
