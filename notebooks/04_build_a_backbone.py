# %% [markdown]
# # Build a backbone
#
# The networks of this package are put together from small parts, and a short string says which:
#
# **attention → cell → block → backbone → network**
#
# This notebook takes the parts in hand: what a cell sees, what the three backbones cost and how far they look, how one is
# plugged into a training loop of MONAI, and how it then runs over an image that is larger than its window.

# %%
# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
import logging

import matplotlib.pyplot as plt
import numpy as np
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.data.utils import compute_importance_map
from monai.engines import SupervisedTrainer
from monai.utils import set_determinism
from pictures import BLUE, GRAY, RED, panels, show, use_style
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from monai_stcnnt.inferers import FrameSlidingWindowInferer
from monai_stcnnt.losses import CharbonnierLoss
from monai_stcnnt.mri import cine_phantom, random_shapes, rician_magnitude
from monai_stcnnt.networks import STCNNTHRNet, STCNNTSOANet, STCNNTUNet, parse_block_string
from monai_stcnnt.networks.blocks import CellBlock

use_style()
set_determinism(0)
logging.getLogger("monai").setLevel(logging.ERROR)

# %% [markdown]
# ## Block strings
#
# Two characters name a cell: who attends to whom, and whether a mixer follows. `T1L1G1` is a temporal, a local and a
# global cell. What the parser does not know, it refuses.

# %%
for spec in parse_block_string("T1L1G0"):
    print(spec)
try:
    parse_block_string("T1X1")
except ValueError as error:
    print(f"\n{type(error).__name__}: {error}")

# %% [markdown]
# ## What a cell sees
#
# A clip is 8 frames of 32 x 32 pixels. Take one pixel of the result, and ask by its gradient which voxels of the clip it
# depends on. On top the same frame, below another one, three frames away.

# %%
size, middle = (8, 32, 32), (4, 13, 13)


def influence(net: nn.Module, channels: int, repeats: int = 4) -> np.ndarray:
    """Mean size of the gradient of one output pixel with respect to every voxel ``(T, H, W)``."""
    total = torch.zeros(size)
    for _ in range(repeats):
        x = torch.randn(1, size[0], channels, *size[1:], requires_grad=True)
        y = net(x)
        y = y[-1] if isinstance(y, list) else y
        t, h, w = middle
        [gradient] = torch.autograd.grad(y[0, t, :, h, w].square().sum(), x)
        total += gradient[0].abs().sum(1)
    return (total / total.max()).numpy()


def decades(values: np.ndarray) -> np.ndarray:
    """Logarithm to base 10, from -4 on."""
    return np.log10(np.maximum(values, 1e-4))


cells = {
    "C2": "convolution",
    "T1": "temporal",
    "L1": "local",
    "G1": "global",
    "S2": "Swin",
    "T1L1G1": "a block of three",
}
fields = {}
for code in cells:
    block = CellBlock(code, 8, 8, size, window_size=(2, 8, 8), patch_size=(1, 2, 2), num_heads=2, norm="none")
    fields[code] = influence(block.eval(), 8)
frames = (middle[0], middle[0] + 3)
figure = panels(
    [decades(fields[code][frame]) for frame in frames for code in cells],
    [f"{code}\n{name}" for code, name in cells.items()] + [""] * len(cells),
    cmap="magma",
    window=(-4, 0),
    bar=[*[None] * (len(cells) - 1), "influence ($10^x$)"] * 2,
    columns=len(cells),
    height=2.1,
)
for axes, label in zip(figure.axes[:: len(cells)], ("same frame", "three frames later"), strict=False):
    axes.text(-0.06, 0.5, label, rotation=90, ha="right", va="center", transform=axes.transAxes)
plt.show()

# %% [markdown]
# A convolution sees its neighbors. A temporal cell alone looks into other frames, at the same place. A local cell looks
# over its window, as a Swin cell does, and by the 3 x 3 convolutions of its mixer a little beyond. A global cell reaches
# all windows at once, at the price of one frame. The block of all three sees the whole frame and other frames.
#
# ## Three backbones
#
# A backbone takes frames `(B, T, C, H, W)` and returns a list of tensors; `out_channels` and `strides` say what they are,
# so that any head fits any backbone.

# %%
options = {
    "img_size": size, "window_size": (2, 8, 8), "patch_size": (1, 2, 2), "num_heads": 4, "norm": "none", "mixer_ratio": 1.5
}  # fmt: skip
backbones = {
    "STCNNTHRNet": STCNNTHRNet(1, 16, ["T1L1G1", "T1L1G1"], **options),
    "STCNNTUNet": STCNNTUNet(1, 16, ["T1L1G1", "T1L1G1"], **options),
    "STCNNTSOANet": STCNNTSOANet(1, 16, ["T1L1G1", "T1L1G1"], downsample=False, **options),
}
costs = {}
for name, backbone in backbones.items():
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        backbone.eval()(torch.randn(1, size[0], 1, *size[1:]))
    parameters = sum(p.numel() for p in backbone.parameters()) / 1e6
    costs[name] = (parameters, flops.get_total_flops() / 2 / np.prod(size) / 1e3)
    print(f"{name:<13} {parameters:5.2f} M parameters   {costs[name][1]:6.0f} thousand multiplications per voxel")
    print(f"{'':<13} channels {backbone.out_channels}, strides {backbone.strides}")

# %%
figure = plt.figure(figsize=(13, 4.3))
left, *rest = figure.subplots(1, 4, width_ratios=[1.1, 1, 1, 1])
places = np.arange(len(costs))
left.barh(places, [cost for _, cost in costs.values()], color=[BLUE, RED, GRAY], height=0.6)
left.set_yticks(places, [name.removeprefix("STCNNT") for name in costs])
left.invert_yaxis()
left.set(title="cost", xlabel="thousand multiplications\nper voxel")
for axes, (name, backbone) in zip(rest, backbones.items(), strict=True):
    field = influence(backbone, 1, repeats=3)
    show(axes, decades(field[middle[0]]), f"what a pixel of\n{name} sees", window=(-4, 0), cmap="magma")
figure.colorbar(rest[0].images[0], ax=rest, shrink=0.75, pad=0.01, label="influence ($10^x$)").outline.set_visible(
    False
)
plt.show()

# %% [markdown]
# All three see the whole image. The HRNet never gives up full resolution, and pays for it; the U-Net does most of its
# work at half the resolution; the stack of attentions has one resolution. `docs/networks.md` has the costs of all cells
# and networks.
#
# ## In a training loop of MONAI
#
# A head makes a backbone a network: here a small denoiser, which learns minus the noise. MONAI's layout is
# `(B, C, T, H, W)`, so frames change places at the door (the networks of the package do that by themselves).
#
# It learns from simulated clips in SNR units, moving shapes drawn anew for every step, for 150 steps: long enough to see
# something happen, far too short for a good denoiser.


# %%
class TinyDenoiser(nn.Module):
    """Any backbone whose last tensor has full resolution, and a convolution: (B, 1, T, H, W) to the same."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Conv3d(backbone.out_channels[-1], 1, (1, 3, 3), padding=(0, 1, 1))
        nn.init.zeros_(self.head.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Denoise clips in SNR units."""
        scaled = torch.asinh(x)
        features = self.backbone(scaled.transpose(1, 2))[-1]
        return x + self.head(features.transpose(1, 2))


def draw_clip(seed: int) -> dict[str, torch.Tensor]:
    """A noisy clip and its truth, in SNR units."""
    rng = np.random.RandomState(seed)
    clean = random_shapes(rng, (4, 32, 32)) * rng.uniform(4, 16)
    return {"image": rician_magnitude(clean, 1.0, rng)[None], "label": clean[None]}


small = {**options, "num_heads": 2}
net = TinyDenoiser(STCNNTHRNet(1, 8, ["T1L1", "T1G1"], **small))
steps = 150
loader = DataLoader(Dataset(list(range(2 * steps)), draw_clip), batch_size=2)
losses = []
trainer = SupervisedTrainer(
    device=torch.device("cpu"),
    max_epochs=1,
    train_data_loader=loader,
    network=net,
    optimizer=torch.optim.AdamW(net.parameters(), 1.5e-3),
    loss_function=CharbonnierLoss(),
    decollate=False,
)
trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output["loss"].item()))
trainer.run()

# %%
idle = np.mean(
    [CharbonnierLoss()(clip["image"][None], clip["label"][None]).item() for clip in map(draw_clip, range(40))]
)
figure, axes = plt.subplots(figsize=(8, 3.4))
axes.plot(losses, color=GRAY, linewidth=1, alpha=0.7, label="each step")
axes.plot(np.arange(9, steps), np.convolve(losses, np.ones(10) / 10, "valid"), color=BLUE, label="mean of ten")
axes.axhline(idle, color=RED, linestyle="--", linewidth=1.5, label="doing nothing")
axes.set(xlabel="step", ylabel="loss (noise levels)", ylim=(0, 1.3 * idle))
axes.legend(ncols=3, fontsize=11, loc="lower left")
plt.show()

# %% [markdown]
# ## Sliding windows, by hand
#
# The network was trained on 4 frames of 32 x 32 pixels. A cine of 8 frames and 96 x 80 pixels is worked on window by
# window. Windows overlap, since a network knows least at the edge of what it sees, and each counts most in its middle:

# %%
clean = 12 * cine_phantom((8, 96, 80)).image.abs()
noisy = rician_magnitude(clean, 1.0, torch.Generator().manual_seed(0))[None, None]
window = (4, 32, 32)


def starts(extent: int, length: int, overlap: float) -> list[int]:
    """First voxels of windows along an axis; the last window ends where the axis ends."""
    step = max(1, int(length * (1 - overlap)))
    places = list(range(0, extent - length, step))
    return [*places, extent - length]


@torch.no_grad()
def by_hand(image: torch.Tensor, overlap: float, mode: str) -> torch.Tensor:
    """Run the network over (1, 1, T, H, W), window by window."""
    weight = compute_importance_map(window, mode=mode)
    total, weights = torch.zeros_like(image), torch.zeros_like(image)
    for t in starts(image.shape[2], window[0], overlap):
        for y in starts(image.shape[3], window[1], overlap):
            for x in starts(image.shape[4], window[2], overlap):
                place = (..., slice(t, t + window[0]), slice(y, y + window[1]), slice(x, x + window[2]))
                total[place] += weight * net(image[place])
                weights[place] += weight
    return total / weights


net.eval()
seams = by_hand(noisy, 0.0, "constant")
blended = by_hand(noisy, 0.5, "gaussian")
inferer = FrameSlidingWindowInferer(window, overlap=0.5, mode="gaussian")
with torch.no_grad():
    packaged = inferer(noisy, net)
print(f"by hand and FrameSlidingWindowInferer differ by {float((packaged - blended).abs().max()):.1e}")
for name, image in (("noisy", noisy), ("no overlap", seams), ("half overlap", blended)):
    print(f"{name:<13} error {float((image[0, 0] - clean).square().mean().sqrt()):.3f} noise levels")

# %%
shown = 4
difference = (seams - blended)[0, 0, shown].numpy()
panels(
    [clean[shown].numpy(), noisy[0, 0, shown].numpy(), blended[0, 0, shown].numpy(), difference],
    ["truth", "noisy", "denoised, half overlap", "what no overlap changes"],
    window=[(0, 13)] * 3 + [(-1, 1)],
    bar=[None, None, None, "noise levels"],
    height=3.9,
)
plt.show()

# %% [markdown]
# On the right are the seams that windows without overlap leave. `FrameSlidingWindowInferer` is MONAI's sliding window with
# what long MR series need: clips shorter than the window, frames read when they are needed and given away when they are
# finished, fewer windows at once where a GPU runs out of memory. It is what the bundles use.
#
# Next: [train on your own data](05_train_on_your_data.ipynb).
