# %% [markdown]
# # Segment a cine
#
# A short-axis cine of the heart goes in; masks of the ventricles in every frame, volumes over time, the ejection fraction
# and a movie come out.
#
# The heart of this notebook is simulated, so that the truth is known to the pixel and nothing has to be downloaded. Put
# the name of a file or DICOM folder of yours in its place and the rest stays as it is.
#
# **Research use only.** No result is meant for diagnosis or treatment.

# %%
# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
import shutil
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Image
from matplotlib.colors import ListedColormap
from pictures import BLUE, GRAY, GREEN, RED, YELLOW, movie, show, use_style

from monai_stcnnt.apps import segment
from monai_stcnnt.data import SeriesRecord, read_series, regular_frame_times, write_nifti
from monai_stcnnt.metrics import class_volumes, ventricular_function
from monai_stcnnt.mri import CINE_LABELS, cine_phantom, rician_magnitude

use_style()
work = Path(tempfile.mkdtemp())

# %% [markdown]
# ## A heart whose volumes are known
#
# `cine_phantom` simulates one slice over a heart beat. A stack of them, which gets narrower toward the apex, makes a
# left ventricle with a volume. Its frames are 50 ms apart, its slices 10 mm. Noise is added at an SNR of about 20.

# %%
frames, slices, rows, columns = 16, 6, 128, 128
narrowing = np.linspace(1.0, 0.72, slices)  # of the heart from base to apex


def stack() -> tuple[np.ndarray, np.ndarray]:
    """Images and labels ``(T, Z, Y, X)`` of a heart that gets narrower from slice to slice."""
    phantom = cine_phantom((frames, rows, columns))
    y, x = torch.meshgrid(torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij")
    center_y, center_x = 0.04, 0.05
    distance = torch.sqrt((y - center_y) ** 2 + (x - center_x) ** 2)
    images, labels = [], []
    for share in narrowing:
        inside = torch.sigmoid((0.62 - distance) / 0.06)  # the chest stays, the heart shrinks
        factor = 1 + inside * (1 / share - 1)
        grid = torch.stack([center_x + (x - center_x) * factor, center_y + (y - center_y) * factor], -1)
        grid = grid.expand(frames, -1, -1, -1).float()
        sample = torch.nn.functional.grid_sample
        images.append(sample(phantom.image.abs()[:, None], grid, align_corners=True)[:, 0])
        labels.append(sample(phantom.labels[:, None].float(), grid, mode="nearest", align_corners=True)[:, 0])
    return torch.stack(images, 1).numpy(), torch.stack(labels, 1).numpy().round()


clean, truth = stack()
noisy = rician_magnitude(torch.tensor(clean), 0.02, torch.Generator().manual_seed(0)).numpy()
affine = np.diag([-2.2, -2.2, 10.0, 1.0])
cine = SeriesRecord(1000 * noisy[None], affine, regular_frame_times(frames, 50.0))
scan = write_nifti(cine, work / "cine.nii.gz")

# %% [markdown]
# ## One call
#
# From a shell: `stcnnt segment cine.nii.gz masks --csv volumes.csv --report report.png`. In Python, the call returns what
# it wrote and what the masks measure.

# %%
[result] = segment(scan, work / "masks", csv=work / "volumes.csv", report=work / "report.png", progress=False)
for sentence in result.measures.sentences:
    print(sentence)

# %%
Image(work / "report.png", width=1000)

# %% [markdown]
# ## Is it right?
#
# The truth is known, so every number can be checked: the overlap of masks (Dice), the volumes in every frame, and the
# ejection fraction that follows from them. It is a kind test: simulated hearts were among those that the network learned
# from. The bundle's README tells how well it does on real ones.

# %%
masks = read_series(result.saved, check=False).array[0]
names = ["right ventricle", "myocardium", "left ventricle"]  # values 1, 2, 3, as in ACDC
found = {name: masks == value for value, name in enumerate(names, start=1)}
actual = {name: truth == CINE_LABELS[name] for name in names}
known = class_volumes(truth, affine, [CINE_LABELS[name] for name in names])
seen = result.measures.volumes

print(f"{'':<18}{'Dice':>7}{'ejection fraction':>20}{'truth':>8}")
for k, name in enumerate(names):
    dice = 2 * (found[name] & actual[name]).sum() / (found[name].sum() + actual[name].sum())
    line = f"{name:<18}{dice:7.3f}"
    if name != "myocardium":
        line += f"{ventricular_function(seen[:, k]).ejection_fraction:18.1f} %"
        line += f"{ventricular_function(known[:, k]).ejection_fraction:6.1f} %"
    print(line)

# %%
colors = dict(zip(names, (BLUE, GREEN, RED), strict=True))
times = cine.frame_times
figure, (left, right) = plt.subplots(1, 2, figsize=(12.5, 4.4), width_ratios=[1.5, 1])
for k, name in enumerate(names):
    left.plot(times, seen[:, k], color=colors[name], label=name)
    left.plot(times, known[:, k], "o", color=colors[name], markersize=5, markerfacecolor="white")
left.plot([], [], "o", color=GRAY, markerfacecolor="white", label="truth")
left.set(xlabel="time (ms)", ylabel="volume (ml)", title="volumes over a heart beat", ylim=(0, None))
left.legend(fontsize=11, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.18))

for k, name in ((0, "right ventricle"), (2, "left ventricle")):
    loop = seen[:, k]
    change = (np.roll(loop, -1) - np.roll(loop, 1)) / 0.1  # over two frames; the beat repeats
    right.plot(np.append(loop, loop[0]), np.append(change, change[0]), "o-", color=colors[name], markersize=4)
right.axhline(0, color=GRAY, linewidth=1)
right.set(xlabel="volume (ml)", ylabel="change (ml/s)", title="filling (above) and ejection")
plt.show()

# %% [markdown]
# ## Where the masks and the truth disagree
#
# Errors of masks live at borders. The picture shows the middle slice at end diastole and end systole: the image, the
# masks as outlines, and the pixels that have another label than the truth.

# %%
function = result.measures.functions["left ventricle"]
remap = np.zeros(4)
for value, name in enumerate(names, start=1):
    remap[CINE_LABELS[name]] = value
expected = remap[truth.astype(int)]


def outlines(axes, mask):
    """Draw the borders of the masks of one slice ``(Y, X)``."""
    for value, name in enumerate(names, start=1):
        axes.contour(mask == value, [0.5], colors=[colors[name]], linewidths=1.8)


figure, grid = plt.subplots(2, 3, figsize=(11.5, 7.6))
middle, heart = slices // 2, (slice(30, 102), slice(26, 106))
phases = ((function.end_diastole, "end diastole"), (function.end_systole, "end systole"))
for row, (frame, phase) in zip(grid, phases, strict=True):
    image = cine.array[0, frame, middle][heart]
    show(row[0], image, phase, window=(0, 1000))
    show(row[1], image, "masks", window=(0, 1000))
    outlines(row[1], masks[frame, middle][heart])
    wrong = (masks[frame, middle] != expected[frame, middle])[heart]
    show(row[2], image, f"{wrong.sum()} of {wrong.size} pixels differ", window=(0, 1000))
    row[2].imshow(np.where(wrong, 1.0, np.nan), cmap=ListedColormap([YELLOW]))
plt.show()

# %% [markdown]
# ## A movie

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.9), width_ratios=[1, 1.15])


def draw(frame: int) -> None:
    """Draw one frame: the middle slice with its masks, and a point that runs along the volume."""
    left.clear()
    show(left, cine.array[0, frame, middle][heart], window=(0, 1000))
    outlines(left, masks[frame, middle][heart])
    right.clear()
    for k, name in ((0, "right ventricle"), (2, "left ventricle")):
        right.plot(times, seen[:, k], color=colors[name], label=name)
        right.plot(times[frame], seen[frame, k], "o", color=colors[name], markersize=11)
    right.set(xlabel="time (ms)", ylabel="volume (ml)", ylim=(0, 1.15 * seen[:, [0, 2]].max()))
    right.legend(loc="lower left", fontsize=11)


movie(figure, draw, frames, fps=10)

# %%
shutil.rmtree(work)

# %% [markdown]
# ## What to look out for
#
# - **One slice has no volume.** The table then holds areas, and a note says why there is no ejection fraction.
# - **Base and apex.** Whether the stack covers the ventricle is for you to check; the report shows every slice.
# - **Other scanners, other contrasts.** The networks learned from few hearts (see the bundle's README for how few, and how
#   well they do on hearts they never saw). [Fine-tune them on yours](05_train_on_your_data.ipynb).
# - **Noisy cines**: `stcnnt segment --denoise` denoises first.
