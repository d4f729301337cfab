# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Networks outside of eager PyTorch: ONNX, torch.compile, and a saved script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from monai_stcnnt.networks import STCNNTClassifier, STCNNTDenoiser, STCNNTSegmenter, build_variant
from tests.networks.laws import SMALL

__all__: list[str] = []

NETS: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "hrnet": (STCNNTDenoiser, {"backbone": "hrnet", "block_strings": "T1L1G1"}),
    "unet": (STCNNTSegmenter, {"backbone": "unet", "block_strings": "V2C3", "levels": 1}),
    "soanet": (STCNNTClassifier, {"backbone": "soanet", "block_strings": "S3Sh"}),
}


def make(name: str, **changed: Any) -> tuple[nn.Module, torch.Tensor]:  # noqa: ANN401
    """Make a small network in eval mode and its input."""
    net, options = NETS[name]
    return net(3, 2, 4, **{**SMALL, **options, **changed}).eval(), torch.randn(1, 3, 4, 16, 16)


@pytest.mark.parametrize(
    "name", [pytest.param("hrnet", marks=pytest.mark.slow), pytest.param("unet", marks=pytest.mark.slow), "soanet"]
)
def test_onnx_runtime_agrees(name: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    net, x = make(name)
    program = torch.onnx.export(net, (x,), dynamo=True, verbose=False)
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    result = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(result), net(x), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_onnx_runtime_agrees_with_a_variant() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    net: Any = build_variant("stcnnt_light").eval()
    x = torch.randn(1, 3, 4, 32, 32)
    nn.init.normal_(net.head.conv.weight, std=0.05)
    program = torch.onnx.export(net, (x,), dynamo=True, verbose=False)
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    result = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    with torch.no_grad():
        differences = (torch.from_numpy(result) - net(x)).abs()
    assert differences.max() < 1e-2  # of two blocks that are equally near up to rounding, another one may be taken
    assert differences.quantile(0.98) < 1e-3


@pytest.mark.parametrize("name", [pytest.param("hrnet", marks=pytest.mark.slow), "unet", "soanet"])
def test_compiles_as_one_graph(name: str) -> None:
    net, x = make(name)
    with torch.no_grad():
        compiled = torch.compile(net, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), net(x), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(NETS))
def test_compiles_to_machine_code(name: str) -> None:
    net, x = make(name, block_strings="T0")
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(net)(x), net(x), rtol=1e-4, atol=1e-4)


def test_saved_script_runs_optimized_for_several_sizes(tmp_path: Path) -> None:
    net, x = make("soanet")
    torch.jit.script(net).save(str(tmp_path / "net.ts"))
    scripted = torch.jit.load(str(tmp_path / "net.ts"))
    with torch.no_grad():
        for y in (x, x, torch.randn(2, 3, 3, 13, 18), x):
            torch.testing.assert_close(scripted(y), net(y), rtol=1e-5, atol=1e-5)
