# %% [markdown]
# # SNR units, g-factor maps, and the noise in an image
#
# A denoiser has to know how strong the noise is. Scanners do not say: the numbers in a file depend on the coils, the
# receiver gain, the filters, the acceleration. **SNR units** settle this once and for all. An image is in SNR units when
# its thermal noise has standard deviation 1 in the real part and in the imaginary part. A pixel of value 7 then has an
# SNR of 7, whatever the scanner.
#
# This notebook finds out by experiment what becomes of noise on its way through a reconstruction, and compares each
# result with what theory says:
#
# 1. coils and prewhitening,
# 2. k-space filters,
# 3. acceleration and the g-factor,
# 4. magnitudes, and how the noise level is found when nobody kept the noise scan.
#
# Everything runs offline: the head is the average brain that comes with nilearn, the coils are simulated.

# %%
# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
from functools import partial
from importlib.resources import as_file, files

import matplotlib.pyplot as plt
import numpy as np
import torch
from pictures import BLUE, GRAY, RED, panels, show, use_style
from scipy import special

from monai_stcnnt import mri
from monai_stcnnt.data import read_series

use_style()
generator = torch.Generator().manual_seed(0)
rng = np.random.RandomState(0)

template = files("nilearn") / "datasets" / "data" / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
with as_file(template) as path:
    volume = read_series(path).array[0, 0]
anatomy = torch.tensor(volume[95, ::-1].copy())[12:228, 8:188]  # anterior on top, 216 x 180
height, width = anatomy.shape
truth = torch.polar(anatomy / anatomy.max(), mri.smooth_phase(rng, (1, height, width))[0])

# %% [markdown]
# ## 1. Sixteen coils that do not agree about noise
#
# Each coil sees the head from its side, with its own gain, and hears a part of its neighbors' noise. A noise scan (the
# same measurement without excitation) tells how much: its covariance matrix over the coils.

# %%
coils = 16
angle = 2 * np.pi * np.arange(coils) / coils
position = 1.05 * np.stack([np.sin(angle), np.cos(angle)], 1)
sensitivity = mri.coil_sensitivities((height, width), position, radius=0.35)

crosstalk = torch.eye(coils) + 0.15 * mri.complex_noise((coils, coils), generator)
gain = 1e-4 * torch.tensor(rng.uniform(0.7, 1.4, coils), dtype=torch.float32)
hardware = gain[:, None] * crosstalk  # what the receiver does to white noise


def receiver_noise(*shape: int) -> torch.Tensor:
    """Noise as the coils deliver it, ``(coils, *shape)``."""
    return torch.tensordot(hardware, mri.complex_noise((coils, *shape), generator), dims=1)


noise_scan = receiver_noise(128, 256)
covariance = mri.noise_covariance(noise_scan)
whitened = mri.noise_covariance(mri.prewhiten(noise_scan, covariance))

panels(
    [covariance.abs().numpy() * 1e8, whitened.abs().numpy()],
    ["noise scan: the coils differ and share noise", "prewhitened: the identity"],
    cmap="viridis",
    bar=["covariance ($10^{-8}$)", "covariance"],
    height=3.4,
)
plt.show()

# %% [markdown]
# The data of the scan are prewhitened with the same matrix. From here on every coil has noise of standard deviation 1,
# and the Fourier transforms of this package are orthonormal, so that it stays 1 on the way to the image. The coils are
# combined with weights of unit length: `1` once more.

# %%
signal = 0.01 * sensitivity * truth
kspace = mri.fftc(signal, (-2, -1)) + receiver_noise(height, width)
coil_maps = mri.prewhiten(0.01 * sensitivity, covariance)
strength = torch.linalg.vector_norm(coil_maps, dim=0)


def combine(images: torch.Tensor) -> torch.Tensor:
    """Combine prewhitened coil images ``(coils, H, W)`` so that noise stays at 1."""
    return (coil_maps.conj() * images).sum(0) / strength


image = combine(mri.ifftc(mri.prewhiten(kspace, covariance), (-2, -1)))
clean = strength * truth
noise = image - clean
print(f"largest value in the scanner's units: {mri.ifftc(kspace, (-2, -1)).abs().max():.2e}")
print(f"noise: {noise.real.std():.3f} in the real part, {noise.imag.std():.3f} in the imaginary part")

# %%
figure = plt.figure(figsize=(12.5, 4.4))
left, middle, right = figure.subplots(1, 3, width_ratios=[1.05, 1.05, 1.2])
show(left, image.abs().numpy(), "in SNR units", window=(0, 40), bar="SNR of a pixel")
show(middle, noise.real.numpy(), "its noise (real part)", window=(-4, 4), bar="")
right.hist(noise.real.flatten().numpy(), 80, (-4, 4), density=True, color=GRAY, label="38 880 pixels")
axis = np.linspace(-4, 4, 200)
right.plot(axis, np.exp(-(axis**2) / 2) / np.sqrt(2 * np.pi), color=RED, label="normal, σ = 1")
right.set(xlabel="noise", yticks=[], title="predicted and simulated")
right.legend(loc="upper left", fontsize=11, handlelength=1)
plt.show()

# %% [markdown]
# ## 2. Filters change the level, and the texture
#
# Reconstructions multiply k-space by windows: against ringing, for partial Fourier sampling, to interpolate. White noise
# of level 1 leaves a filter at the level of the filter's root mean square, which `noise_gain` computes. A reconstruction
# that divides by it, as `normalization="rms"` does, stays in SNR units.
#
# The level is only half of the story: filtered noise is *colored*. Neighboring pixels agree, and a denoiser that was
# trained on white noise takes such blobs for anatomy. Training therefore shows the networks all of these
# (`RandMRNoised`).

# %%
filters = {
    "none": (torch.ones(height), torch.ones(width)),
    "Gaussian window": tuple(mri.gaussian_filter(n, 1.6, "max") for n in (height, width)),
    "partial Fourier 6/8": (mri.partial_fourier_filter(height, 0.75, normalization="max"), torch.ones(width)),
    "resolution 70%": tuple(mri.resolution_filter(n, 0.7) for n in (height, width)),
    "all three": tuple(
        mri.gaussian_filter(n, 1.6, "max")
        * (mri.partial_fourier_filter(n, 0.75, normalization="max") if n == height else torch.ones(n))
        * mri.resolution_filter(n, 0.7)
        for n in (height, width)
    ),
}
white = mri.complex_noise((20, height, width), generator)
predicted = {name: mri.noise_gain(*pair) for name, pair in filters.items()}
filtered = {name: mri.filter_image(white, pair, (-2, -1)).real for name, pair in filters.items()}
for name, gain_of_filter in predicted.items():
    print(f"{name:<20} predicted {gain_of_filter:.4f}   simulated {filtered[name].std():.4f}")

# %%
panels(
    [filtered[name][0, :72, :72].numpy() / predicted[name] for name in filters],
    [f"{name}\nσ = {predicted[name]:.2f}" for name in filters],
    window=(-3, 3),
    height=2.4,
)
plt.show()

# %% [markdown]
# ## 3. Acceleration: every pixel has a noise level of its own
#
# Leave out all but every R-th line of k-space, and the image folds onto itself R times. The coils tell the folded pixels
# apart (SENSE), and the price is noise: a factor √R for fewer measurements, and a **g-factor** for how alike the coils
# see the pixels that fell onto each other. The g-factor is a map. In its bright spots noise is several times as strong.
#
# Theory has a formula for it (`sense_gfactor`). The experiment reconstructs again and again, each time with new noise
# in k-space, and takes the spread of every pixel (`replica_noise_map`), which works for any reconstruction.


# %%
def sense(kspace: torch.Tensor, unfold: torch.Tensor, rate: int) -> torch.Tensor:
    """Reconstruct k-space ``(coils, H, W)`` of which every ``rate``-th row was measured."""
    folded = rate * mri.ifftc(kspace, (-2, -1))[:, : height // rate]
    return torch.einsum("hwrc,chw->rhw", unfold, folded).reshape(height, width)


def unfolding(rate: int) -> torch.Tensor:
    """Least-squares weights ``(H / rate, W, rate, coils)`` that tell folded pixels apart."""
    return torch.linalg.pinv(coil_maps.unflatten(1, (rate, height // rate)).permute(2, 3, 0, 1))


measured_kspace = mri.prewhiten(kspace, covariance)
noise_maps, theory = {}, {}
for rate in (1, 2, 3, 4):
    lines = (torch.arange(height) - height // 2) % rate == 0
    sampled = measured_kspace * lines[:, None]
    reconstruct = partial(sense, unfold=unfolding(rate), rate=rate)
    noise_maps[rate] = mri.replica_noise_map(reconstruct, sampled, 60, generator)
    theory[rate] = mri.sense_gfactor(coil_maps, (rate, 1), regularization=0)
experiment = {rate: mri.pseudo_replica_gfactor(noise_maps[rate], noise_maps[1], rate) for rate in (2, 3, 4)}

# %%
inside = anatomy > 0.1 * anatomy.max()
mask = torch.where(inside, 1.0, torch.nan)
rates = (2, 3, 4)
panels(
    [(m[rate] * mask).numpy() for m in (theory, experiment) for rate in rates],
    [f"R = {rate}, formula" for rate in rates] + [f"R = {rate}, 60 replicas" for rate in rates],
    cmap="magma",
    window=(1, 3),
    bar=[None, None, "g-factor"] * 2,
    columns=3,
    height=3.3,
)
plt.show()
for rate in rates:
    ratio = (experiment[rate] / theory[rate])[inside]
    print(
        f"R = {rate}: g up to {theory[rate][inside].max():.2f}; experiment over formula {ratio.mean():.3f} +- {ratio.std():.3f}"
    )

# %% [markdown]
# Sixty replicas tell a standard deviation to 6% (1 / √(4 · 60)), twice in a ratio: 9% is what theory expects, and what is
# seen.
#
# What a network gets to see is the image in SNR units *with* its g-factor map as one more channel (`AppendGFactord`), so
# that it knows where to trust what it sees. Divided by √R and the map, the noise is 1 everywhere again:

# %%
rate = 4
lines = (torch.arange(height) - height // 2) % rate == 0
accelerated = sense(measured_kspace * lines[:, None], unfolding(rate), rate) * strength / rate**0.5
error = accelerated - clean / rate**0.5
for name, values in (("as it is", error), ("over the g-factor map", error / theory[rate])):
    print(f"noise at R = 4, {name}: σ = {values.real[inside].std():.3f}")
panels(
    [accelerated.abs().numpy(), (theory[rate] * mask).numpy(), error.real.numpy(), (error / theory[rate]).real.numpy()],
    ["R = 4, SNR units", "g-factor map", "its noise", "noise over g"],
    window=[(0, 25), (1, 3), (-4, 4), (-4, 4)],
    cmap=["gray", "magma", "gray", "gray"],
    height=3.6,
)
plt.show()

# %% [markdown]
# ## 4. Magnitudes, and noise levels that nobody wrote down
#
# Most files hold magnitudes. Where the signal is strong, their noise is that of the real part. Where it is weak,
# magnitudes cannot fall below zero: they have a bias, and less spread (Rice's distribution). In air, the spread is
# √(2 - π/2) = 0.66 of σ, and the mean is not zero but 1.25 σ.

# %%
levels = torch.linspace(0, 6, 25)
draws = mri.rician_magnitude(levels[:, None].expand(-1, 40000), 1.0, generator)
smooth = np.linspace(0, 6, 200)
half = smooth**2 / 4
mean = np.sqrt(np.pi / 2) * ((1 + 2 * half) * special.ive(0, half) + 2 * half * special.ive(1, half))

figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4))
left.plot(smooth, mean, color=BLUE, label="theory")
left.plot(levels, draws.mean(1), "o", color=RED, markersize=5, label="simulated")
left.plot(smooth, smooth, ":", color=GRAY, label="without bias")
left.set(xlabel="true SNR of the pixel", ylabel="mean magnitude", title="weak signals look stronger ...")
left.legend()
right.plot(smooth, np.sqrt(mri.rician_variance_factor(smooth)), color=BLUE)
right.plot(levels, draws.std(1), "o", color=RED, markersize=5)
right.set(xlabel="true SNR of the pixel", ylabel="standard deviation / σ", ylim=(0.5, 1.08), title="... and less noisy")
plt.show()

# %% [markdown]
# When no noise scan was kept, the level has to come from the image: from air where there is some, from the finest
# wavelet details elsewhere, from changes over frames where there are several. `estimate_noise_level` chooses, and says
# what it looked at. Here it is asked about magnitudes in arbitrary units at six noise levels:

# %%
found = []
for snr in (2, 5, 10, 20, 40, 80):
    sigma = 1000 * mri.foreground_mean(anatomy / anatomy.max()) / snr
    magnitudes = mri.rician_magnitude(1000 * truth, sigma, generator)
    estimate = mri.estimate_noise_level(magnitudes[None, None])
    found.append((snr, sigma, estimate.sigma))
    print(
        f"SNR {snr:>2}: σ = {sigma:6.1f}, estimated {estimate.sigma:6.1f} ({estimate.sigma / sigma - 1:+.1%}, from {estimate.method})"
    )

# %% [markdown]
# ## 5. The noise of a scan as scanners write it
#
# Few scanners write white noise: k-space is tapered and filled with zeros, and parallel imaging amplifies the noise in the
# middle. `estimate_noise_model` finds all of it in the image: the level, a map, and per axis the part of k-space that noise
# fills. Here 130 of 216 rows and 120 of 180 columns are acquired, with a taper, at fourfold acceleration.


# %%
def taper(length: int, rim: float) -> tuple[float, ...]:
    """Amplitudes that fall from 1 in the middle to ``rim`` at both ends."""
    place = np.abs(np.arange(length) - length // 2) / (length / 2)
    return tuple(rim + (1 - rim) * (1 + np.cos(np.pi * np.clip((place - 0.4) / 0.6, 0, 1))) / 2)


axes = (mri.AxisSpectrum(height, 43, 173, taper(130, 0.4)), mri.AxisSpectrum(width, 30, 150, taper(120, 0.5)))
gmap = torch.where(inside, theory[4], 1.0)
coarse = torch.nn.functional.interpolate(gmap[None, None], (130, 120), mode="area")[0, 0]
signal = mri.from_acquired(mri.to_acquired(30 * truth, axes), axes)
scan = signal + mri.from_acquired(coarse * mri.complex_noise((130, 120), generator), axes)
model = mri.estimate_noise_model(torch.stack((scan.real, scan.imag))[None, :, None])
print(model.describe())
found = model.level * mri.map_of_frames(model, 0, slice(0, 1), 1, (height, width))[0]
print(f"median error of the level inside: {(found / gmap - 1).abs()[inside].median():.1%}")

# %%
figure = plt.figure(figsize=(12.5, 3.6))
panel = figure.subplots(1, 4, width_ratios=[1, 1, 1, 1.3])
show(panel[0], scan.abs().numpy(), "the scan", window=(0, 30))
show(panel[1], (gmap * mask).numpy(), "level of its noise", window=(0.8, 3), cmap="magma")
show(panel[2], (found * mask).numpy(), "found", window=(0.8, 3), cmap="magma")
for axis, told, name, color in zip(axes, model.spectrum[1:], ("rows", "columns"), (BLUE, RED), strict=True):
    frequency = np.linspace(-1, 1, axis.size)
    panel[3].plot(frequency, axis.weights(), color=color, label=name)
    panel[3].plot(frequency, told.weights(), "--", color=color, label=f"{name}, found")
panel[3].set_xlabel("k-space, from the center in half widths")
panel[3].set_title("amplitude of the noise")
panel[3].legend(fontsize=8)
plt.show()

# %% [markdown]
# The image alone tells it. `stcnnt noise` does this for files, and `stcnnt denoise` brings each scan to the acquired
# matrix and makes its noise white before the network sees it; `docs/noise-of-your-scan.md` says how, and how well.

# %% [markdown]
# ## In a pipeline
#
# The bundles do all of this by themselves. In a MONAI transform chain of your own it is three lines:
#
# ```python
# from monai_stcnnt.transforms import AppendGFactord, EstimateNoiseLeveld, ToSNRUnitsd
#
# [EstimateNoiseLeveld("image"), ToSNRUnitsd("image"), AppendGFactord("image", gmap_key="gmap")]
# ```
#
# Next: [what networks are made of](04_build_a_backbone.ipynb), or back to [denoising a scan](01_denoise_a_scan.ipynb).
