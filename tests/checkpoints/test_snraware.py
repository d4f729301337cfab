# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Published SNRAware checkpoints: names by rule, options from the configuration, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open

from monai_stcnnt.checkpoints import load_snraware
from monai_stcnnt.checkpoints.snraware import convert_snraware_state, snraware_name
from monai_stcnnt.checkpoints.snraware_options import (
    BACKBONE_KEYS,
    BLOCK_KEYS,
    CELL_KEYS,
    KIND_KEYS,
    TRAINING_SECTIONS,
    WITHOUT_EFFECT,
    published_block_string,
    snraware_backbone_options,
    snraware_cell_options,
    snraware_denoiser_options,
)
from monai_stcnnt.checkpoints.states import load_strictly
from monai_stcnnt.errors import CheckpointMismatchError, MissingFileError, PickledCodeError, UnreadableFileError
from monai_stcnnt.networks import STCNNTDenoiser, build_variant
from monai_stcnnt.networks.block_string import parse_block_string
from monai_stcnnt.networks.blocks import CellBlock
from monai_stcnnt.networks.cells import AttentionCell
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
    assert snraware_cell_options(CELL, ["T1L1", "V2S3"])["num_heads"] == {
        "temporal": 4,
        "local": 4,
        "vit": 8,
        "swin": 8,
    }


def test_published_digit_0_has_a_mixer(config: Path) -> None:
    backbone = yaml.safe_load(config.read_text(encoding="utf-8"))["backbone"]
    options = snraware_backbone_options({**backbone, "block_str": ["T0L0G3", "C3T1"]})
    assert options["block_strings"] == ["T1L1G3", "C3T1"]


@pytest.mark.parametrize(
    ("published", "ours"),
    [("shSh", "shSh"), ("S3Sh", "S3Sh"), ("T0LxG2", "T1L1G1"), ("T3L3G3", "T1L3G3"), ("V2C3", "V2C3")],
)
def test_published_spellings(published: str, ours: str) -> None:
    assert published_block_string(published) == ours
    parse_block_string(ours)


SUBGROUPS = [(f"cell.{group}.{key}", group, key) for group, keys in KIND_KEYS.items() for key in sorted(keys)]
CHANGED: dict[str, Any] = {
    "attention_type": "lin", "mixer_type": "lin", "window_size": [4, 4, 4], "patch_size": [2, 2, 2],
    "window_sizing_method": "keep_window_size", "n_head": 2, "kernel_size": [5, 5, 5], "stride": [2, 2, 2],
    "padding": [0, 0, 0], "stride_s": [2, 2, 2], "stride_t": [2, 2, 2], "mixer_kernel_size": [5, 5, 5],
    "mixer_stride": [2, 2, 2], "mixer_padding": [0, 0, 0], "scale_ratio_in_mixer": 2.0, "normalize_Q_K": False,
    "cosine_att": False, "att_with_relative_position_bias": False, "att_dropout_p": 0.5, "dropout_p": 0.5,
    "att_with_output_proj": False, "norm_mode": "instance2d", "is_causal": True, "activation_func": "gelu",
    "upsample_method": "NN", "temporal_multi_head_att_on_C_H_W": True, "shuffle_in_window": True,
    "stride_qk": [2, 2, 1], "cell_type": "parallel", "block_dense_connection": True, "name": "Unet",
    "block_str": ["T1"],
    "num_of_channels": 8, "num_resolution_levels": 3, "use_unet_attention": False, "num_stages": 3, "downsample": False,
}  # fmt: skip
NAMED_ELSEWHERE = {"cell", "block", "conv_type", "shifted_window_attention", "num_wind", "num_patch"}
"""Groups, what the block string says instead, and counts that only a single published cell takes."""


def backbone_with(config: Path, place: tuple[str, ...], value: Any) -> dict[str, Any]:  # noqa: ANN401
    """Read the published backbone configuration and change one option."""
    backbone: dict[str, Any] = yaml.safe_load(config.read_text(encoding="utf-8"))["backbone"]
    backbone |= {"use_unet_attention": True, "num_stages": 2, "downsample": True}
    group = backbone
    for name in place[:-1]:
        group = group.setdefault(name, {})
    group[place[-1]] = value
    return backbone


PLACES = [
    *(("block", "cell", key) for key in sorted(CELL_KEYS - NAMED_ELSEWHERE)),
    *(("block", "cell", group, key) for _, group, key in SUBGROUPS if key not in NAMED_ELSEWHERE),
    *(("block", key) for key in sorted(BLOCK_KEYS - NAMED_ELSEWHERE)),
    *((key,) for key in sorted(BACKBONE_KEYS - NAMED_ELSEWHERE)),
]


@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_every_published_option_is_used_or_refused_by_name(place: tuple[str, ...], config: Path) -> None:
    plain = backbone_with(config, ("num_stages",), 2)
    changed = backbone_with(config, place, CHANGED[place[-1]])
    if place[-1] in ("num_stages", "downsample", "use_unet_attention"):
        plain["name"] = changed["name"] = "Unet" if place[-1] == "use_unet_attention" else "soanet"
    if place[-1] in ("normalize_Q_K",):
        plain["block"]["cell"]["cosine_att"] = changed["block"]["cell"]["cosine_att"] = False
    if place[-1] == "kernel_size" or place[-1] == "mixer_kernel_size":
        changed["block"]["cell"][place[-1].replace("kernel_size", "padding")] = [2, 2, 2]
    try:
        options = snraware_backbone_options(changed)
    except CheckpointMismatchError as error:
        assert place[-1] in str(error)  # noqa: PT017 - both ways are right
    else:
        assert options != snraware_backbone_options(plain)


def test_the_published_file_names_no_other_option(config: Path) -> None:
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    known = {"backbone", "dataset", "lora", "scale_model_output_with_noise_level"}
    assert set(content) <= known | TRAINING_SECTIONS
    assert not WITHOUT_EFFECT & {place[-1] for place in PLACES}


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("surprise",), 1, "surprise: 1"),
        (("lora",), {"enabled": True}, "lora.enabled"),
        (("scale_model_output_with_noise_level",), True, "scale_model_output_with_noise_level"),
        (("backbone", "depth"), 3, "backbone.depth: 3"),
        (("backbone", "block", "cell", "rotary"), True, "cell.rotary: True"),
        (("backbone", "block", "cell", "temporal", "window"), 3, "cell.temporal.window: 3"),
        (("backbone", "block", "cell", "upsample_method"), "bspline", "upsample_method: bspline"),
        (("backbone", "block", "cell", "mixer_kernel_size"), [5, 3, 5], "mixer_kernel_size"),
        (("backbone", "block", "cell", "mixer_type"), "mlp", "mixer_type: mlp, and there is only conv, lin"),
        (("backbone", "block", "cell", "attention_type"), "cnn", "attention_type: cnn"),
        (("backbone", "name"), "resnet", "backbone.name: resnet"),
    ],
)
def test_what_is_not_known_is_refused_by_name(place: tuple[str, ...], value: Any, said: str, config: Path) -> None:  # noqa: ANN401
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    group = content
    for name in place[:-1]:
        group = group[name]
    group[place[-1]] = value
    with pytest.raises(CheckpointMismatchError, match=re.escape(said)):
        snraware_denoiser_options(content)


def published_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Turn our weights of a block into those of a published file, as far as the cells of the test need it."""
    rules = [
        (r"^cells\.(\d+)\.", r"block.cell_\1."),
        (r"\.attn\.norm\.", ".attn.n1.ln."),
        (r"\.attn\.act\.", ".attn.act_func."),
        (r"position_bias\.table", "relative_position_bias_table"),
        (r"\.norm([12])\.", r".n\1.ln."),
        (r"\.proj\.", ".input_proj."),
        (r"\.mixer\.conv1\.", ".mlp.0."),
        (r"\.mixer\.conv2\.", ".mlp.2."),
        (r"\.mixer\.act\.", ".mlp.1."),
    ]
    result: dict[str, torch.Tensor] = {}
    for ours, tensor in state.items():
        name = ours
        for pattern, theirs in rules:
            name = re.sub(pattern, theirs, name)
        if ".project.qkv." in name:
            parts = zip(("query", "key", "value"), tensor.chunk(3), strict=True)
            result |= {name.replace("project.qkv", part): value for part, value in parts}
        else:
            result[name] = tensor
    return result


@pytest.mark.parametrize("block_string", ["L3V2", "T1L1G1V2", "V2C2", "G1V3T1"])
def test_blocks_of_mixed_kinds_are_their_single_cells_in_a_row(block_string: str) -> None:
    size = (4, 16, 16)
    shared: dict[str, Any] = {"window_size": (2, 8, 8), "patch_size": (1, 4, 4), "mixer_ratio": 1.0}
    cell = {**CELL, "window_size": [8, 8, 2], "patch_size": [4, 4, 1], "scale_ratio_in_mixer": 1.0}
    x = torch.randn(1, 4, 4, 16, 16)
    y = x
    state: dict[str, torch.Tensor] = {}
    for i, spec in enumerate(parse_block_string(block_string)):
        single = AttentionCell(spec, 4 if i == 0 else 8, 8, size, num_heads=8 if spec.kind == "vit" else 4, **shared)
        with torch.no_grad():
            y = single.eval()(y)
        state |= {f"cells.{i}.{name}": tensor for name, tensor in single.state_dict().items()}
    block = CellBlock(block_string, 4, 8, size, **snraware_cell_options(cell, [block_string])).eval()
    load_strictly(block, convert_snraware_state(published_names(state), block), "the cells")
    with torch.no_grad():
        torch.testing.assert_close(block(x), y)


def test_a_mixer_of_5_by_5_loads(reference: Any, config: Path, tmp_path: Path) -> None:  # noqa: ANN401
    state = {
        name: torch.nn.functional.pad(tensor, (1, 1, 1, 1)) if re.search(r"mlp\.[02]\.conv\.weight", name) else tensor
        for name, tensor in reference[2].items()
    }
    torch.save(state, tmp_path / "weights.pth")
    net = load_snraware(tmp_path / "weights.pth", config)
    with torch.no_grad():
        torch.testing.assert_close(net(reference[0]), reference[1], rtol=1e-4, atol=1e-4)


def test_sizes_are_turned_to_frames_first(config: Path) -> None:
    options = snraware_denoiser_options(yaml.safe_load(config.read_text(encoding="utf-8")))
    assert options["img_size"] == (8, 16, 16)
    assert (options["backbone"], options["levels"], options["channels"]) == ("hrnet", 2, 4)
