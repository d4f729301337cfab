# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of loading HRNetV2 checkpoints, on tiny networks in the published form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from monai_stcnnt.checkpoints.hrnet import adapt_hrnet_state_dict, hrnet_options, load_hrnet
from monai_stcnnt.errors import CheckpointMismatchError, MissingFileError, NetworkConfigError, PickledCodeError
from monai_stcnnt.networks.hrnetv2.net import HRNETV2_VARIANTS, HRNetV2

__all__: list[str] = []

TINY: dict[str, Any] = {
    "spatial_dims": 2, "in_channels": 3, "out_channels": 5, "channels": ((4, 6), (4, 6, 8), (4, 6, 8, 10)),
    "num_blocks": ((1, 2), (1, 1, 1), (1, 1, 1, 2)), "num_modules": (1, 2, 1), "stem_channels": 4, "layer1_channels": 3,
    "layer1_blocks": 2,
}  # fmt: skip
OCR: dict[str, Any] = {"ocr": True, "ocr_channels": (8, 4), "align_corners": True}


def trained(**options: Any) -> HRNetV2:  # noqa: ANN401 - any keyword
    """A network whose batch norms have seen something."""
    net = HRNetV2(**{**TINY, **options})
    with torch.no_grad():
        net.train()(torch.randn(2, net.in_channels, *[40] * net.spatial_dims))
    return net.eval()


def classification(net: HRNetV2) -> dict[str, torch.Tensor]:
    """The weights of a network as those of a classification checkpoint."""
    trunk = {name: tensor for name, tensor in net.state_dict().items() if not name.startswith("last_layer.")}
    extra = ["incre_modules.0.0.conv1.weight", "downsamp_modules.0.0.bias", "final_layer.0.weight", "classifier.weight"]
    return trunk | {name: torch.zeros(2) for name in extra}


def image(channels: int = 3) -> torch.Tensor:
    return torch.randn(1, channels, 37, 50)


@pytest.mark.parametrize(
    "options",
    [
        {},
        OCR,
        {"final_kernel_size": 3},
        {"multi_scale_output": False},
        {"block": "bottleneck"},
        {"norm": "instance"},
        {"channels": ((5, 6), (4, 7, 8), (4, 6, 8, 10))},
        {"spatial_dims": 3, "in_channels": 1},
    ],
)
def test_options_are_read_off_the_weights(options: dict[str, Any]) -> None:
    net = trained(**options)
    loaded, report = load_hrnet(net.state_dict())
    x = torch.randn(1, net.in_channels, *[21, 34, 5][: net.spatial_dims])
    assert torch.equal(loaded(x), net(x))
    assert report.adapted == report.reinitialized == report.dropped == ()
    assert report.loaded == len(net.state_dict())
    assert report.kind == ("segmentation with OCR" if net.ocr else "segmentation")


@pytest.mark.parametrize("variant", ["hrnetv2_w18_small_v2", "hrnetv2_w48"])
def test_options_of_a_variant_are_those_of_the_table(variant: str) -> None:
    with torch.device("meta"):
        options = hrnet_options(HRNetV2(2, 3, 19, **HRNETV2_VARIANTS[variant]).state_dict())
    row = HRNETV2_VARIANTS[variant]
    assert options["channels"][-1] == list(row["channels"])
    assert options["num_modules"] == list(row["num_modules"])
    assert {count for stage in options["num_blocks"] for count in stage} == set(row["num_blocks"])
    assert (options["layer1_blocks"], options["stem_channels"]) == (row["layer1_blocks"], 64)


@pytest.mark.parametrize("prefix", ["module.", "model.", "module.model.", "net.backbone."])
@pytest.mark.parametrize("nest", [None, "state_dict"])
def test_prefixes_and_nests_are_resolved(prefix: str, nest: str | None, tmp_path: Path) -> None:
    net = trained()
    content: dict[str, Any] = {prefix + name: tensor for name, tensor in net.state_dict().items()}
    content[prefix.removesuffix("model.") + "loss.criterion.weight"] = torch.ones(5)
    torch.save({nest: content, "epoch": 3} if nest else content, tmp_path / "weights.pth")
    if prefix == "net.backbone.":
        with pytest.raises(CheckpointMismatchError) as error:
            load_hrnet({**content, "net.decode_head.weight": torch.ones(1)})
        assert "net.decode_head.weight is unknown to the network" in str(error.value)
    loaded, report = load_hrnet(tmp_path / "weights.pth")
    x = image()
    assert torch.equal(loaded(x), net(x))
    assert report.prefix == prefix
    assert [name.endswith("loss.criterion.weight") for name in report.dropped] == [True]
    assert f"prefix {prefix!r} removed" in str(report)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_gray_image_gives_the_features_of_its_three_copies(channels: int) -> None:
    net, gray = trained(), image(1)
    loaded, report = load_hrnet(net.state_dict(), in_channels=channels)
    torch.testing.assert_close(
        loaded(gray.repeat(1, channels, 1, 1)), net(gray.repeat(1, 3, 1, 1)), atol=1e-5, rtol=1e-4
    )
    assert report.adapted == (f"conv1.weight: sum over 3 image channels spread evenly over {channels}",)


@pytest.mark.parametrize("head", [{}, OCR])
def test_other_number_of_classes_starts_the_last_layers_anew(head: dict[str, Any]) -> None:
    net = trained(**head)
    loaded, report = load_hrnet(net.state_dict(), out_channels=4)
    layers = ("aux_head.3", "cls_head") if head else ("last_layer.3",)
    assert set(report.reinitialized) == {f"{layer}.{leaf}" for layer in layers for leaf in ("weight", "bias")}
    assert loaded(image()).shape[1] == 4
    before, after = net.state_dict(), loaded.state_dict()
    kept = set(before) - set(report.reinitialized)
    assert all(torch.equal(after[name], before[name]) for name in kept)
    assert report.loaded == len(kept)


@pytest.mark.parametrize("head", [{}, {"ocr": True, "ocr_channels": (8, 4)}])
def test_classification_checkpoint_gives_its_trunk(head: dict[str, Any]) -> None:
    net = trained()
    loaded, report = load_hrnet(classification(net), out_channels=4, **head)
    x = image()
    assert all(torch.equal(a, b) for a, b in zip(loaded.features(x), net.features(x), strict=True))
    assert loaded(x).shape == (1, 4, 37, 50)
    assert report.kind == "classification"
    assert {name.split(".")[0] for name in report.dropped} == {
        "incre_modules", "downsamp_modules", "final_layer", "classifier"
    }  # fmt: skip
    fresh = {name.split(".")[0] for name in report.reinitialized}
    assert fresh == ({"aux_head", "conv3x3_ocr", "ocr_distri_head", "cls_head"} if head else {"last_layer"})
    assert "4 entries dropped: incre_modules, downsamp_modules, final_layer, classifier" in str(report)
    with pytest.raises(NetworkConfigError, match=r"classification checkpoint\. Give out_channels"):
        load_hrnet(classification(net))


@pytest.mark.parametrize(("source", "options"), [({}, OCR), (OCR, {"ocr": False})])
def test_other_head_starts_anew(source: dict[str, Any], options: dict[str, Any]) -> None:
    net = trained(**source)
    loaded, report = load_hrnet(net.state_dict(), **options)
    assert loaded.ocr is not net.ocr
    assert len(report.dropped) > 0
    assert set(report.reinitialized) == set(loaded.state_dict()) - set(net.state_dict())
    assert torch.equal(loaded.features(image())[0].isfinite(), torch.ones(1, 4, 10, 13, dtype=torch.bool))


def test_published_corners_follow_the_head() -> None:
    assert load_hrnet(trained(**OCR).state_dict())[0].align_corners
    assert not load_hrnet(trained().state_dict())[0].align_corners
    assert load_hrnet(trained().state_dict(), align_corners=True)[0].align_corners


@pytest.mark.parametrize("head", [{}, OCR])
def test_2d_weights_answer_the_same_in_3d(head: dict[str, Any]) -> None:
    net = trained(**head)
    loaded, report = load_hrnet(net.state_dict(), spatial_dims=3)
    x = image()
    expected = net(x).unsqueeze(2).repeat(1, 1, 4, 1, 1)
    torch.testing.assert_close(loaded(x.unsqueeze(2).repeat(1, 1, 4, 1, 1)), expected, atol=1e-4, rtol=1e-4)
    assert report.adapted == ("2D kernels inflated to 3D by 'center'",)
    average, _ = load_hrnet(net.state_dict(), spatial_dims=3, inflation="average")
    kernels = [each.state_dict()["conv1.weight"] for each in (average, net)]
    torch.testing.assert_close(kernels[0].sum(dim=2), kernels[1])


def test_all_adaptations_together() -> None:
    loaded, report = load_hrnet(classification(trained()), 2, 1, spatial_dims=3, upsample_output=False)
    assert loaded(torch.randn(1, 1, 5, 17, 20)).shape == (1, 2, 2, 5, 5)
    assert len(report.adapted) == 2
    assert not loaded.training


def test_checkpoints_without_counters_are_taken() -> None:
    net = trained()
    weights = {name: tensor for name, tensor in net.state_dict().items() if not name.endswith("num_batches_tracked")}
    loaded, report = load_hrnet(weights)
    x = image()
    assert torch.equal(loaded(x), net(x))
    assert report.loaded == len(weights)


def test_3d_weights_do_not_become_2d() -> None:
    with pytest.raises(CheckpointMismatchError, match=r"conv1\.weight has the shape"):
        load_hrnet(trained(spatial_dims=3).state_dict(), spatial_dims=2)


def test_options_that_differ_from_the_weights_are_refused() -> None:
    with pytest.raises(CheckpointMismatchError) as error:
        load_hrnet(trained().state_dict(), layer1_channels=5)
    assert "layer1.0.conv1.weight has the shape [3, 4, 1, 1], the network wants [5, 4, 1, 1]" in str(error.value)
    with pytest.raises(CheckpointMismatchError, match=r"layer1\.2\.conv1\.weight is missing"):
        load_hrnet(trained().state_dict(), layer1_blocks=3, spatial_dims=3)


def test_incomplete_checkpoint_is_refused() -> None:
    weights = trained().state_dict()
    for gone in ("layer1.1.bn2.weight", "last_layer.0.weight", "stage3.1.fuse_layers.0.1.0.weight"):
        with pytest.raises(CheckpointMismatchError, match=f"{gone} is missing"):
            load_hrnet({name: tensor for name, tensor in weights.items() if name != gone})


def test_stranger_is_refused_with_ten_of_its_entries() -> None:
    weights = {"conv1.weight": torch.zeros(64, 3, 7, 7)} | {f"layer{i}.0.weight": torch.zeros(1) for i in range(20)}
    with pytest.raises(CheckpointMismatchError) as error:
        load_hrnet(weights)
    lines = str(error.value).splitlines()
    assert "a state dict holds no HRNetV2" in lines[0]
    assert "conv1.weight has the shape [64, 3, 7, 7], the network wants [64, 3, 3, 3]" in lines[1]
    assert len([line for line in lines if "is unknown to the network" in line]) == 9
    assert lines[11].strip() == "and 883 more"


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="absent"):
        load_hrnet(tmp_path / "absent.pth")
    torch.save({"state_dict": trained().state_dict(), "path": tmp_path}, tmp_path / "object.pth")
    with pytest.raises(PickledCodeError, match="PosixPath"):
        load_hrnet(tmp_path / "object.pth")


def test_adaptation_changes_neither_the_weights_nor_the_network() -> None:
    weights, net = classification(trained()), HRNetV2(**{**TINY, "in_channels": 1, "spatial_dims": 3})
    before = {name: tensor.clone() for name, tensor in weights.items()}
    start = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    adapted, _ = adapt_hrnet_state_dict(weights, net)
    for tensor in adapted.values():
        tensor.add_(1)
    assert list(weights) == list(before)
    assert all(torch.equal(weights[name], before[name]) for name in before)
    assert all(torch.equal(tensor, start[name]) for name, tensor in net.state_dict().items())
