# %% [markdown]
# # Train on your data
#
# A folder of your scans, one command, and some patience: the bundles fine-tune their networks from the
# weights that they come with. This notebook does it in small, with simulated hearts and an average brain as "your data",
# so that it runs anywhere in minutes. The commands are the real ones.
#
# 1. The segmenter, on a contrast that it has never seen.
# 2. The denoiser, on clean scans.
# 3. Several GPUs, and what to do when a training is killed.

# %%
# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
import shlex
import shutil
import subprocess
import sys
import tempfile
from importlib.resources import as_file, files
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from pictures import BLUE, GREEN, RED, panels, show, use_style

from monai_stcnnt.apps import denoise, segment
from monai_stcnnt.apps.bundles import bundle_folder
from monai_stcnnt.apps.review.quality import add_series_noise, image_quality, magnitude_record
from monai_stcnnt.data import SeriesRecord, read_series, regular_frame_times, write_nifti
from monai_stcnnt.mri import CINE_LABELS, cine_phantom

use_style()
work = Path(tempfile.mkdtemp())


def train(bundle: Path, **options: object) -> None:
    """Run the training config of a bundle as a shell would, in the folder of this notebook's files."""
    command = ["-m", "monai.bundle", "run", "--config_file", str(bundle / "configs" / "train.json")]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    done = subprocess.run([sys.executable, *command], cwd=work, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    print("python " + shlex.join(command).replace(str(bundle.parent), "bundles"))


# %% [markdown]
# ## 1. A segmenter for another contrast
#
# The segmentation bundle learned from bright-blood cines. Suppose that yours are black-blood: the cavities are dark, the
# muscle is bright. Your folder has the sub folders `images` and `labels`, with files of the same names (the layouts of
# ACDC and M&Ms are known too). Labels are 1 right ventricle, 2 myocardium, 3 left ventricle.

# %%
names = ["right ventricle", "myocardium", "left ventricle"]


def black_blood(seed: int) -> tuple[SeriesRecord, SeriesRecord]:
    """A simulated heart with dark blood, and its labels."""
    heart = cine_phantom((8, 96, 96), np.random.RandomState(seed))
    bright = heart.image.abs().numpy()
    tissue = 1 / (1 + np.exp(-(bright - 0.15) / 0.02))
    dark = bright + tissue * (1.05 - 2 * bright)
    labels = np.select([heart.labels.numpy() == CINE_LABELS[name] for name in names], [1, 2, 3], 0)
    rng = np.random.RandomState(100 + seed)
    noisy = np.hypot(dark + 0.03 * rng.randn(*dark.shape), 0.03 * rng.randn(*dark.shape))
    geometry = (np.diag([2.0, 2.0, 10.0, 1.0]), regular_frame_times(8, 100.0))
    return SeriesRecord(1000 * noisy[None, :, None], *geometry), SeriesRecord(labels[None, :, None], *geometry)


for seed in range(1, 9):
    image, label = black_blood(seed)
    write_nifti(image, work / "hearts" / "images" / f"heart{seed}.nii.gz")
    write_nifti(label, work / "hearts" / "labels" / f"heart{seed}.nii.gz", dtype="uint8")
image, label = black_blood(99)  # a heart that training does not see
new_heart = write_nifti(image, work / "new_heart.nii.gz")

# %% [markdown]
# How well does the bundle do on a new heart as it is? And after a few epochs on the folder?

# %%
segmenter = bundle_folder("cine_segmentation")
train(
    segmenter,
    dataset_dir="hearts",
    ckpt_dir="training",
    pretrained=segmenter / "models" / "model.pt",
    epochs=5,
    iterations=12,
    learning_rate=0.002,
    ema_decay=0.9,
    val_interval=1,
    drawn_prob=0,
)

# %% [markdown]
# The folder `training` now holds `model.pt`, the best weights by validation. Put them in a copy of the bundle, and it is a
# bundle of your own, for `stcnnt segment --bundle my_segmenter` and for `monai.bundle`.

# %%
mine = work / "my_segmenter"
shutil.copytree(segmenter, mine)
shutil.copy(work / "training" / "model.pt", mine / "models" / "model.pt")

masks = {}
for name, bundle in (("as it came", segmenter), ("fine-tuned", mine)):
    [result] = segment(new_heart, work / name.replace(" ", "_"), bundle=bundle, progress=False)
    masks[name] = read_series(result.saved, check=False).array[0, :, 0]
truth = label.array[0, :, 0]


def dice(mask: np.ndarray, value: int) -> float:
    """Overlap of a class with the truth, over all frames."""
    return 2 * ((mask == value) & (truth == value)).sum() / ((mask == value).sum() + (truth == value).sum())


for name, mask in masks.items():
    print(f"{name:<11} " + "   ".join(f"{names[k - 1]} {dice(mask, k):.2f}" for k in (1, 2, 3)))

# %%
figure = plt.figure(figsize=(14, 4.1))
*views, curve = figure.subplots(1, 4, width_ratios=[1, 1, 1, 1.25])
for axes, (name, mask) in zip(views, [("truth", truth), *masks.items()], strict=True):
    show(axes, image.array[0, 0, 0], name, window=(0, 1050))
    for value, color in enumerate((BLUE, GREEN, RED), start=1):
        axes.contour(mask[0] == value, [0.5], colors=[color], linewidths=2)
history = pd.read_csv(work / "training" / "packed_unet_history.csv")
curve.plot(history.epoch, history.mean_dice, "o-", color=BLUE)
curve.set(xlabel="epoch", title="Dice in validation", ylim=(0, 1), xticks=history.epoch)
plt.show()

# %% [markdown]
# ## 2. The denoiser
#
# It learns from clean scans, to which training adds noise itself: random levels, g-factor maps, filters (see
# [notebook 3](03_snr_units_and_noise.ipynb)). Any folder of magnitude images of high SNR will do, NIfTI or DICOM; for
# complex images add `--mode complex`. Here the folder holds parts of nilearn's average brain.

# %%
template = files("nilearn") / "datasets" / "data" / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
with as_file(template) as path:
    brain = read_series(path)
parts = {}
for number, first in enumerate(range(40, 136, 16)):
    part = brain.array[:, :, first : first + 8, 20:212:2, 18:178:2]
    parts[number] = SeriesRecord(part, np.diag([2.0, 2.0, 1.0, 1.0]), brain.frame_times)
    if number != 2:  # kept for the test
        write_nifti(parts[number], work / "brains" / f"part{number}.nii.gz")

denoiser = bundle_folder("mri_denoising")
train(
    denoiser,
    dataset_dir="brains",
    ckpt_dir="training",
    pretrained=denoiser / "models" / "model.pt",
    epochs=2,
    iterations=12,
    learning_rate=0.0003,
    clip_size=[8, 48, 48],
    clip_frames=[8],
    ema_decay=0.9,
    val_interval=1,
    val_clips=2,
)
history = pd.read_csv(work / "training" / "magnitude_history.csv")
print(history.to_string(index=False, float_format="{:.4g}".format))

# %%
mine = work / "my_denoiser"
shutil.copytree(denoiser, mine)
shutil.copy(work / "training" / "model.pt", mine / "models" / "model.pt")
added = add_series_noise(parts[2], snr=4, seed=0)
clean, noisy = magnitude_record(added.clean), magnitude_record(added.noisy)
write_nifti(noisy, work / "noisy.nii.gz")
results = {"noisy": noisy}
for name, bundle in (("as it came", denoiser), ("fine-tuned", mine)):
    [saved] = denoise(work / "noisy.nii.gz", work / f"{name.replace(' ', '_')}.nii.gz", bundle=bundle, progress=False)
    results[name] = read_series(saved)
scores = {name: image_quality(clean, series).psnr for name, series in results.items()}
panels(
    [series.array[0, 0, 4, ::-1] for series in (clean, *results.values())],
    ["truth", *(f"{name}\n{score:.1f} dB" for name, score in scores.items())],
    window=(0, float(clean.array.max())),
    height=3.6,
)
plt.show()

# %% [markdown]
# Two dozen steps change a trained denoiser by little, up or down: a denoiser that knows noise in SNR units works on images
# it has never seen. Expect more where your images differ from all it has learned from, and give it hours, not minutes.
# The best weights by validation are kept, so a training that makes things worse is seen in the history.
#
# ## 3. Several GPUs, and going on
#
# One more config makes a training run in several processes, one for each GPU. `batch_size` is that of all together, so
# the result does not depend on their number:
#
# ```sh
# torchrun --standalone --nproc-per-node 4 --max-restarts 3 -m monai.bundle run \
#     --config_file "['bundles/mri_denoising/configs/train.json','bundles/mri_denoising/configs/multi_gpu_train.json']" \
#     --dataset_dir scans --ckpt_dir training --batch_size 8 --amp True
# ```
#
# - `torchrun` starts four processes. Each takes a GPU, and they add up their gradients after every step.
# - On several machines: `--nnodes 2 --rdzv-backend c10d --rdzv-endpoint HOST:29500` in place of `--standalone`, and a
#   `ckpt_dir` that all of them see.
# - When a process dies, all start again and go on from the last state. When the whole job was killed, give the same
#   command with `--resume auto`: losses and weights become those of a training that was never stopped.
#
# All options, and what a training keeps, are in `docs/training.md`. How far the networks of the bundles are from what
# full-size data would make of them is said in the README of each bundle.

# %%
shutil.rmtree(work)
