# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the convolutional HRNet: features and logits, and the names and shapes of published checkpoints."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from monai_stcnnt.networks.hrnetv2.net import HRNETV2_VARIANTS, HRNetV2

__all__ = ["check", "check_key_list"]

TOLERANCE = 1e-4


def options_of(config: Mapping[str, Any], *, ocr: bool) -> dict[str, Any]:
    """Keywords of our network from a published configuration.

    Raises:
        ValueError: for a configuration that the published code does not have.
    """
    model, extra = config["MODEL"], config["MODEL"]["EXTRA"]
    first, stages = extra["STAGE1"], [extra[f"STAGE{number}"] for number in (2, 3, 4)]
    blocks = {stage["BLOCK"] for stage in stages}
    fuse = {stage["FUSE_METHOD"] for stage in [first, *stages]}
    if first["BLOCK"] != "BOTTLENECK" or len(blocks) != 1 or fuse != {"SUM"}:
        raise ValueError(f"unknown blocks {first['BLOCK']}, {blocks} or fuse method {fuse}")
    options = {
        "spatial_dims": 2,
        "in_channels": 3,
        "out_channels": config["DATASET"]["NUM_CLASSES"],
        "layer1_channels": first["NUM_CHANNELS"][0],
        "layer1_blocks": first["NUM_BLOCKS"][0],
        "channels": [stage["NUM_CHANNELS"] for stage in stages],
        "num_blocks": [stage["NUM_BLOCKS"] for stage in stages],
        "num_modules": [stage["NUM_MODULES"] for stage in stages],
        "block": blocks.pop().lower(),
        "align_corners": bool(model["ALIGN_CORNERS"]),
        "upsample_output": False,
    }
    if ocr:
        return options | {"ocr": True, "ocr_channels": (model["OCR"]["MID_CHANNELS"], model["OCR"]["KEY_CHANNELS"])}
    return options | {"final_kernel_size": extra["FINAL_CONV_KERNEL"]}


def features_of(net: HRNetV2, image: torch.Tensor) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """Outputs of ``layer1`` and of every stage's branches, under the fixtures' names, and the logits."""
    seen: dict[str, torch.Tensor] = {}

    def remember(name: str) -> Any:  # noqa: ANN401 - the type of a hook
        def hook(_module: object, _inputs: object, output: torch.Tensor | list[torch.Tensor]) -> None:
            if isinstance(output, torch.Tensor):
                seen[f"features.{name}"] = output
            else:
                seen.update({f"features.{name}.{i}": branch for i, branch in enumerate(output)})

        return hook

    names = ["layer1", "stage2", "stage3", "stage4"]
    hooks = [net.get_submodule(name).register_forward_hook(remember(name)) for name in names]
    with torch.no_grad():
        logits = net.logits(image)
    for hook in hooks:
        hook.remove()
    return seen, logits


def check(case: Any) -> tuple[str, str]:  # noqa: ANN401
    """Compare one fixture: features, logits, and in eval mode the one tensor that ``forward`` returns.

    Raises:
        AssertionError: when a number, a name or a shape differs.
        ValueError: for a case of another kind.
    """
    published = case.config.get("cls", "")
    if case.kind != "hrnet" or not published.startswith("HighResolutionNet from seg_hrnet"):
        raise ValueError(f"unknown case {case.kind}/{case.name}: {published!r}")
    net = HRNetV2(**options_of(case.config["config"], ocr=published.endswith("_ocr"))).eval()
    skipped = set(case.config.get("skipped_state_keys", []))
    params = {n.removeprefix("param."): t for n, t in case.tensors.items() if n.startswith("param.")}
    missing, unknown = net.load_state_dict(params, strict=False)
    assert set(missing) <= skipped, f"missing in the fixture: {missing}"
    assert not unknown, f"unknown to the network: {unknown}"
    ours, logits = features_of(net, case.tensors["input"])
    ours |= {"output": logits[0]} if len(logits) == 1 else {f"output.{i}": y for i, y in enumerate(logits)}
    wanted = {n: t for n, t in case.tensors.items() if not n.startswith("param.") and n != "input"}
    assert set(wanted) <= set(ours), f"not exposed by the network: {sorted(set(wanted) - set(ours))}"
    for name, tensor in wanted.items():
        worst = float((ours[name] - tensor).abs().max()) if ours[name].shape == tensor.shape else math.inf
        message = f"{name}: largest difference {worst:.1e}"
        torch.testing.assert_close(ours[name], tensor, atol=TOLERANCE, rtol=TOLERANCE, msg=message)
    with torch.no_grad():
        assert torch.equal(net(case.tensors["input"]), logits[-1]), "forward returns other logits in eval mode"
    worst = max(float((ours[name] - tensor).abs().max()) for name, tensor in wanted.items())
    return "match", f"{len(wanted)} tensors, largest difference {worst:.1e}"


def check_key_list(path: Path) -> tuple[str, str]:
    """Compare a ``<variant>[_ocr]_cls<classes>.keys.txt`` file with our variant: names, shapes, number of parameters.

    Raises:
        AssertionError: when a name, a shape or the number of parameters differs.
        ValueError: for a file name of another form, or an unknown variant.
    """
    found = re.fullmatch(r"(?P<variant>\w+?)(?P<ocr>_ocr)?_cls(?P<classes>\d+)\.keys\.txt", path.name)
    if not found or found["variant"] not in HRNETV2_VARIANTS:
        raise ValueError(f"{path.name} names no variant; there are {', '.join(HRNETV2_VARIANTS)}")
    head, *rows = path.read_text(encoding="utf-8").splitlines()
    ocr, classes = bool(found["ocr"]), int(found["classes"])
    config = json.loads(head.split("config: ", 1)[1])
    stated = int(re.search(r"(\d+) parameters", head)[1])  # type: ignore[index]
    published = {name: tuple(json.loads(shape)) for name, shape in (row.split("\t") for row in rows if row)}
    variant = HRNETV2_VARIANTS[found["variant"]]
    with torch.device("meta"):
        net = HRNetV2(2, 3, classes, ocr=ocr, **variant)
    ours = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    differing = sorted(set(ours.items()) ^ set(published.items()))
    assert not differing, f"{len(differing)} names or shapes differ, such as {differing[:5]}"
    parameters = sum(p.numel() for p in net.parameters())
    assert parameters == stated, f"{parameters} parameters, published {stated}"
    options = options_of(config, ocr=ocr)
    assert tuple(options["channels"][-1]) == variant["channels"], f"published widths {options['channels']}"
    assert tuple(options["num_modules"]) == variant["num_modules"], f"published modules {options['num_modules']}"
    return "match", f"{len(published)} names and shapes, {stated:,} parameters"
