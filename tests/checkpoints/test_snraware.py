# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Published SNRAware checkpoints: names by rule, options from the configuration, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open

from monai_stcnnt.checkpoints import load_snraware
from monai_stcnnt.checkpoints.snraware import (
    convert_snraware_state,
    snraware_backbone_options,
    snraware_cell_options,
    snraware_denoiser_options,
    snraware_name,
)
from monai_stcnnt.errors import CheckpointMismatchError, MissingFileError, PickledCodeError, UnreadableFileError
from monai_stcnnt.networks import STCNNTDenoiser, build_variant
from tests.checkpoints.archives import Archive

__all__: list[str] = []

REFERENCE = Path(__file__).parents[1] / "golden" / "denoise" / "snraware_tiny_model.safetensors"
CELL: dict[str, Any] = {
    "attention_type": "conv",
    "mixer_type": "conv",
    "window_size": [8, 8, 16],
    "patch_size": [4, 4, 2],
    "n_head": 4,
    "scale_ratio_in_mixer": 4.0,
    "normalize_Q_K": True,
    "cosine_att": True,
    "norm_mode": "layer",
    "activation_func": "prelu",
}


def read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Read the metadata and the tensors, in float32, of a file of reference values."""
    with safe_open(path, framework="pt") as file:
        config = json.loads(file.metadata()["config"])
        return config, {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a mapping


@pytest.fixture(scope="module")
def reference() -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    """Input, output and published state dict of a tiny denoiser."""
    _, tensors = read(REFERENCE)
    state = {name.removeprefix("param."): t for name, t in tensors.items() if name.startswith("param.")}
    return tensors["input"], tensors["output"], state


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Configuration of the tiny denoiser, as it is published beside the weights."""
    ctor = read(REFERENCE)[0]["ctor"]
    path = tmp_path / "config.yaml"
    shape = [ctor["H"], ctor["W"], ctor["D"]]
    path.write_text(
        yaml.safe_dump({"backbone": ctor["backbone"], "dataset": {"cutout_shape": shape}}), encoding="utf-8"
    )
    return path


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        ("pre.conv.weight", "stem.conv.weight"),
        ("post.conv.bias", "head.conv.bias"),
        ("bk.B01.block.cell_2.mlp.0.conv.weight", "backbone.stages.1.blocks.0.cells.2.mixer.conv1.conv.weight"),
        ("bk.B12.block.cell_0.n1.ln.weight", "backbone.stages.2.blocks.1.cells.0.norm1.weight"),
        ("bk.output_B1.block.cell_0.mlp.1.weight", "backbone.fusion.blocks.1.cells.0.mixer.act.weight"),
        ("bk.down_01_22.block.D2_1.conv.conv.weight", "backbone.stages.2.downs.2.0.1.conv.conv.weight"),
        ("bk.down_0_1.block.D2_0.conv.conv.weight", "backbone.fusion.downs.1.0.0.conv.conv.weight"),
        ("bk.up_2_0.block.U2_1.conv.conv.weight", "backbone.fusion.ups.0.1.3.conv.weight"),
        ("B00.block.cell_1.attn.relative_position_bias_table", "stages.0.blocks.0.cells.1.attn.position_bias.table"),
        ("B00.block.cell_0.attn.query.conv.weight", "stages.0.blocks.0.cells.0.attn.project.query.conv.weight"),
        ("B00.block.cell_0.n2.bn.running_mean", "stages.0.blocks.0.cells.0.norm2.bn.running_mean"),
        ("D1.block.cell_0.input_proj.conv.bias", "encoder.1.cells.0.proj.conv.bias"),
        ("attention_0.conv_x.conv.weight", "decoder.-0.gate.skip.conv.weight"),
    ],
)
def test_names_follow_rules(published: str, ours: str) -> None:
    assert snraware_name(published) == ours


def test_full_size_names_and_shapes(shared_golden: Path) -> None:
    text = (shared_golden / "checkpoint" / "published_small_state_dict_keys.txt").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()]
    published = {name: torch.empty(json.loads(shape), device="meta") for name, shape, _ in rows}
    with torch.device("meta"):
        net = build_variant("snraware_small")
    ours = {name: tensor.shape for name, tensor in convert_snraware_state(published, net).items()}
    assert ours == {name: tensor.shape for name, tensor in net.state_dict().items()}


def test_published_files_give_the_published_output(shared_golden: Path) -> None:
    folder = shared_golden / "checkpoint"
    net = load_snraware(folder / "snraware_tiny_model.pth", folder / "snraware_tiny_model.yaml")
    _, tensors = read(shared_golden / "denoise" / "snraware_tiny_model.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(net(tensors["input"]), tensors["output"], rtol=1e-4, atol=1e-4)
    assert not net.training


def derived(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Add the buffers that published files carry along."""
    return {
        **state,
        "bk.B00.block.cell_0.attn.mask": torch.ones(1, 1, 9, 9, dtype=torch.bool),
        "bk.B00.block.cell_1.attn.relative_position_index": torch.zeros(4, 4, dtype=torch.int64),
    }


WRAPPINGS = {
    "plain": lambda state: state,
    "module.": lambda state: {f"module.{name}": t for name, t in state.items()},
    "model.": lambda state: {f"model.{name}": t for name, t in state.items()},
    "module.model.": lambda state: {f"module.model.{name}": t for name, t in state.items()},
    "lightning": lambda state: {
        "state_dict": {f"model.{name}": t for name, t in state.items()},
        "epoch": 3,
        "optimizer_states": [{"lr": 0.1}],
    },
    "derived buffers": derived,
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_wrapped_weights_load(wrapping: str, reference: Any, config: Path, tmp_path: Path) -> None:  # noqa: ANN401
    image, output, state = reference
    torch.save(WRAPPINGS[wrapping](state), tmp_path / "weights.pth")
    net = load_snraware(tmp_path / "weights.pth", config)
    with torch.no_grad():
        torch.testing.assert_close(net(image), output, rtol=1e-4, atol=1e-4)


def test_torchscript_needs_trust(reference: Any, config: Path, tmp_path: Path) -> None:  # noqa: ANN401
    image, output, state = reference
    path = tmp_path / "weights.pts"
    torch.jit.trace(Archive(state), torch.ones(1)).save(str(path))
    with pytest.raises(PickledCodeError, match="trust=True"):
        load_snraware(path, config)
    net = load_snraware(path, config, trust=True)
    with torch.no_grad():
        torch.testing.assert_close(net(image), output, rtol=1e-4, atol=1e-4)


class Stranger:
    """An object that is more than a tensor."""


def test_pickled_code_is_refused_with_and_without_trust(config: Path, tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "hyper_parameters": Stranger()}, tmp_path / "weights.pth")
    for trust in (False, True):
        with pytest.raises(PickledCodeError, match="Stranger"):
            load_snraware(tmp_path / "weights.pth", config, trust=trust)


def test_damaged_archive_is_refused(reference: Any, config: Path, tmp_path: Path) -> None:  # noqa: ANN401
    path = tmp_path / "weights.pts"
    torch.jit.trace(Archive(reference[2]), torch.ones(1)).save(str(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableFileError):
        load_snraware(path, config, trust=True)


def problems(state: Mapping[str, torch.Tensor], config: Path, tmp_path: Path) -> list[str]:
    """Load wrong weights and return the lines of the error."""
    torch.save(dict(state), tmp_path / "weights.pth")
    with pytest.raises(CheckpointMismatchError) as error:
        load_snraware(tmp_path / "weights.pth", config)
    return str(error.value).splitlines()


def test_first_ten_wrong_entries_are_listed(reference: Any, config: Path, tmp_path: Path) -> None:  # noqa: ANN401
    state = reference[2]
    lines = problems({f"stranger.{name}": t for name, t in state.items()}, config, tmp_path)
    assert "weights.pth" in lines[0]
    assert sum("stranger." in line for line in lines) == 10
    assert "more" in " ".join(lines[11:])


def test_one_wrong_shape_is_named_with_both(reference: Any, config: Path, tmp_path: Path) -> None:  # noqa: ANN401
    lines = problems({**reference[2], "pre.conv.bias": torch.zeros(5)}, config, tmp_path)
    assert [line for line in lines if "stem.conv.bias" in line and "[5]" in line and "[4]" in line]
    assert not [line for line in lines if "more" in line]


@pytest.mark.parametrize("value", [None, torch.zeros(3, 3)])
def test_incomplete_projection_is_listed(value: Any, reference: Any, config: Path, tmp_path: Path) -> None:  # noqa: ANN401
    state = {**reference[2], "bk.B00.block.cell_0.attn.key.conv.weight": value}
    lines = problems({name: t for name, t in state.items() if t is not None}, config, tmp_path)
    assert [line for line in lines if "stages.0.blocks.0.cells.0.attn.project" in line]


def test_unused_second_norms_are_left_out() -> None:
    net = STCNNTDenoiser(3, 2, 4, block_strings="T0", img_size=(2, 8, 8), num_heads=2)
    state = {"bk.B00.block.cell_0.n2.ln.weight": torch.ones(4, 8, 8), "pre.conv.bias": torch.ones(4)}
    assert list(convert_snraware_state(state, net)) == ["stem.conv.bias"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "not a published training configuration"),
        ("- 1", "not a published training configuration"),
        ("backbone: {name: HRnet}\ndataset: {cutout_shape: [8, 8, 4]}", "not a published training configuration"),
        ("backbone: {name: resnet}\ndataset: {cutout_shape: [8, 8, 4]}", "resnet"),
        ("dataset: {cutout_shape: [8, 8]}\nbackbone: {}", "not a published training configuration"),
    ],
)
def test_other_configurations_are_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UnreadableFileError, match=said):
        load_snraware(tmp_path / "weights.pth", tmp_path / "config.yaml")


def test_missing_files_are_named(config: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"absent\.yaml"):
        load_snraware(tmp_path / "weights.pth", tmp_path / "absent.yaml")
    with pytest.raises(MissingFileError, match=r"absent\.pth"):
        load_snraware(tmp_path / "absent.pth", config)


@pytest.mark.parametrize(
    ("change", "option", "value"),
    [
        ({}, "window_size", (16, 8, 8)),
        ({}, "patch_size", (2, 4, 4)),
        ({}, "similarity", "cosine"),
        ({"cosine_att": False}, "similarity", "normalized"),
        ({"cosine_att": False, "normalize_Q_K": False}, "similarity", "dot"),
        ({}, "position_bias", "after_softmax"),
        ({"att_with_relative_position_bias": False}, "position_bias", "none"),
        ({"activation_func": "gelu"}, "act", ("gelu", {"approximate": "tanh"})),
        ({"mixer_type": "lin"}, "mixer", "linear"),
        ({"attention_type": "lin"}, "qkv", "linear"),
        ({"dropout_p": 0.1}, "drop_path", 0.1),
        ({"att_dropout_p": 0.2}, "attention_dropout", 0.2),
        ({"att_with_output_proj": False}, "output_proj", False),
    ],
)
def test_options_of_cells(change: dict[str, Any], option: str, value: Any) -> None:  # noqa: ANN401
    assert snraware_cell_options({**CELL, **change}, ["T1L1G1"])[option] == value


def test_heads_of_vit_and_swin_cells_are_eight() -> None:
    assert snraware_cell_options(CELL, ["V2S3"])["num_heads"] == 8
    assert snraware_cell_options(CELL, ["T1C3"])["num_heads"] == 4
    with pytest.raises(CheckpointMismatchError, match="4 heads and ViT or Swin cells with 8"):
        snraware_cell_options(CELL, ["T1", "V2"])


def test_published_digit_0_has_a_mixer(config: Path) -> None:
    backbone = yaml.safe_load(config.read_text(encoding="utf-8"))["backbone"]
    options = snraware_backbone_options({**backbone, "block_str": ["T0L0G3", "C3T1"]})
    assert options["block_strings"] == ["T1L1G3", "C3T1"]


def test_strided_queries_are_refused() -> None:
    with pytest.raises(CheckpointMismatchError, match="stride_qk"):
        snraware_cell_options({**CELL, "temporal": {"stride_qk": [2, 2, 1]}}, ["T1"])


def test_sizes_are_turned_to_frames_first(config: Path) -> None:
    options = snraware_denoiser_options(yaml.safe_load(config.read_text(encoding="utf-8")))
    assert options["img_size"] == (8, 16, 16)
    assert (options["backbone"], options["levels"], options["channels"]) == ("hrnet", 2, 4)
