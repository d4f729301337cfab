# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Draw the three backbones from what their code does.

    python tools/draw_backbones.py docs/images

Every backbone is built and run once. Which block feeds which is read off the graph that autograd records, so that a
picture cannot say anything else than the code. Rows are resolution levels, columns the order in which blocks can run.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from monai_stcnnt.networks.backbones import FrameBackbone, STCNNTHRNet, STCNNTSOANet, STCNNTUNet
from monai_stcnnt.networks.blocks import CellBlock
from monai_stcnnt.networks.layers.resample import AttentionGate

__all__ = ["BACKBONES", "Graph", "draw", "main", "read_graph"]

SMALL: dict[str, Any] = {"num_heads": 2, "img_size": (1, 16, 16), "window_size": 4, "patch_size": 2, "norm": "none"}
BACKBONES: dict[str, tuple[Callable[..., FrameBackbone], dict[str, Any]]] = {
    "hrnet": (STCNNTHRNet, {"block_strings": "T0", "levels": 3}),
    "unet": (STCNNTUNet, {"block_strings": "T0", "levels": 2}),
    "soanet": (STCNNTSOANet, {"block_strings": ["T0"] * 4}),
}
COLORS = {"same": "#555555", "down": "#1f77b4", "up": "#d62728"}


@dataclass
class Graph:
    """Who feeds whom.

    Attributes:
        size: height of what a node makes, by its name.
        edges: (from, to), one per sum, concatenation or call that joins them.
    """

    size: dict[str, int] = field(default_factory=dict)
    edges: set[tuple[str, str]] = field(default_factory=set)

    def columns(self) -> dict[str, int]:
        """Longest way from the input to every node."""
        column = dict.fromkeys(self.size, 0)
        for _ in self.size:
            for start, end in self.edges:
                column[end] = max(column[end], column[start] + 1)
        return column


def sources(tensor: torch.Tensor, made: dict[Any, str]) -> Iterator[str]:
    """Names of the nodes whose results a tensor was computed from, without any node in between."""
    todo, seen = [tensor.grad_fn], set()
    while todo:
        step = todo.pop()
        if step in made:
            yield made[step]
        elif step is not None and step not in seen:
            seen.add(step)
            todo += [function for function, _ in step.next_functions]


def read_graph(net: FrameBackbone) -> Graph:
    """Run a backbone and record its blocks and gates, what they are fed with, and its outputs."""
    graph = Graph()
    image = torch.zeros(1, 1, net.in_channels, 16, 16, requires_grad=True) * 1.0
    made: dict[Any, str] = {image.grad_fn: "input"}
    graph.size["input"] = 16

    def record(name: str, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        graph.size[name] = output.shape[-1]
        graph.edges |= {(source, name) for x in inputs for source in sources(x, made)}
        made[output.grad_fn] = name

    for name, module in net.named_modules():
        if isinstance(module, CellBlock | AttentionGate):
            module.register_forward_hook(lambda _, inputs, output, name=name: record(name, inputs, output))
    for i, output in enumerate(net(image)):
        graph.size[f"output {i}"] = output.shape[-1]
        graph.edges |= {(source, f"output {i}") for source in sources(output, made)}
    return graph


def draw(graph: Graph, ax: Axes) -> None:
    """Draw blocks as boxes, gates and tensors as text, and what flows between them as arrows."""
    column = graph.columns()
    levels = sorted(set(graph.size.values()), reverse=True)
    last = max(column[name] for name in graph.size if not name.startswith("output"))
    place, taken = {}, set()
    for name, size in graph.size.items():
        x, y = float(last + 1 if name.startswith("output") else column[name]), -1.6 * levels.index(size)
        if (x, y) in taken:  # all levels together: beside the others, between two rows
            x, y = x + 1, y - 0.8
        taken.add((x, y))
        place[name] = (1.7 * x, y)
    boxes = {}
    for name, (x, y) in place.items():
        is_block = name != "input" and not name.startswith("output") and not name.endswith("gate")
        face, edge = ("#eef3f8", "#334") if is_block else ("none", "none")
        boxes[name] = FancyBboxPatch((x - 0.5, y - 0.19), 1.0, 0.38, boxstyle="round,pad=0.05", fc=face, ec=edge)
        ax.add_patch(boxes[name])
        label = re.sub(r"\.(block|gate)", r"\n\1", name, count=1)
        ax.text(x, y, label, ha="center", va="center", fontsize=6.5)
    for start, end in sorted(graph.edges):
        ratio = graph.size[start] / graph.size[end]
        color = COLORS["same" if ratio == 1 else "down" if ratio > 1 else "up"]
        apart = column[end] - column[start]
        bend = -0.5 / apart if place[start][1] == place[end][1] and apart > 1 else 0.0
        arrow: dict[str, Any] = {
            "arrowstyle": "-|>",
            "mutation_scale": 9,
            "patchA": boxes[start],
            "patchB": boxes[end],
            "shrinkA": 1,
            "shrinkB": 1,
            "linewidth": 1.1,
        }
        style = f"arc3,rad={bend}"
        ax.add_patch(FancyArrowPatch(place[start], place[end], connectionstyle=style, color=color, **arrow))
    ax.set_xlim(-0.8, max(x for x, _ in place.values()) + 0.8)
    ax.set_ylim(min(y for _, y in place.values()) - 0.5, 0.9)
    for i, size in enumerate(levels):
        ax.text(-0.75, -1.6 * i + 0.45, f"1/{levels[0] // size}", fontsize=7, color="#888")
    ax.set_aspect("equal")
    ax.axis("off")


def main() -> None:
    """Write one picture per backbone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="where to write hrnet.svg, unet.svg and soanet.svg")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    mpl.rcParams.update({"svg.hashsalt": "monai_stcnnt", "svg.fonttype": "none"})
    for name, (backbone, options) in BACKBONES.items():
        graph = read_graph(backbone(1, 2, **SMALL, **options))
        wide = max(graph.columns().values())
        figure, ax = plt.subplots(figsize=(1.25 * wide + 2, 3.6))
        draw(graph, ax)
        lines = [Line2D([], [], color=color, label=kind) for kind, color in COLORS.items()]
        ax.legend(handles=lines, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncol=3, fontsize=7, frameon=False)
        figure.savefig(folder / f"{name}.svg", bbox_inches="tight", metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    main()
