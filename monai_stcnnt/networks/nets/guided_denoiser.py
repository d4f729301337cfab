# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The denoising network that starts from estimates by shrinkage, and corrects them."""

import math
from typing import Any

import torch

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.filters.estimates import ShrinkageEstimates, blend
from monai_stcnnt.networks.filters.phase import SmoothPhase, turned, turned_back
from monai_stcnnt.networks.layers.frames import fold_pixels, unfold_pixels
from monai_stcnnt.networks.nets.base import BackboneName, FrameLayout, ResidualTrunk
from monai_stcnnt.networks.nets.error_calibration import ErrorCalibration

__all__ = ["STCNNTGuidedDenoiser", "power_of_mean", "signal_of_mean"]


def signal_of_mean(mean: torch.Tensor) -> torch.Tensor:
    """Signal of which a Rician magnitude with sigma 1 has this mean; 0 where the mean is that of noise alone or less.

    The mean's square exceeds the signal's by pi / 2 without signal and by 1 for large signals; in between an
    exponential with the right slope at zero is within 0.02 of the inverse of Koay and Basser (2006,
    doi:10.1016/j.jmr.2006.01.016).

    Args:
        mean: means of magnitudes, any shape.

    Returns:
        Signals of the same shape.
    """
    return power_of_mean(mean).sqrt()


def power_of_mean(mean: torch.Tensor) -> torch.Tensor:
    """Square of :func:`signal_of_mean`, whose slope is finite where there is no signal."""
    excess = (mean.clamp(min=0).square() - math.pi / 2).clamp(min=0)
    slope = (4 / math.pi - 1) / (math.pi / 2 - 1)
    return excess + (math.pi / 2 - 1) * (1 - torch.exp(-slope * excess))


class STCNNTGuidedDenoiser(ResidualTrunk):
    """Denoise MR images in SNR units with an imaging transformer that blends and corrects classical estimates.

    The smooth phase of complex images is turned away first (:class:`~monai_stcnnt.networks.filters.phase.SmoothPhase`)
    and back at the end. :class:`~monai_stcnnt.networks.filters.estimates.ShrinkageEstimates` gives estimates of the
    clean image and of their errors; the two by groups, blended by these, are the first guess, of magnitudes less its
    Rician bias. The network sees how the estimates and the noisy image differ from the guess, in units of the noise,
    the guess itself compressed by asinh, and the logarithms of the errors. It answers with a weight for each difference
    and a correction, for every pixel; with its head at zero, as it starts, the result is the guess.
    Squares of ``pack`` by ``pack`` pixels become channels at the entry and pixels again at the exit, as in FFDNet
    (Zhang et al. 2018, doi:10.1109/TIP.2018.2839891); the backbone so works at a lower resolution, on larger
    surroundings, at less cost.

    Args:
        in_channels: image channels and the g-factor map; 3 for complex, 2 for magnitude images. One less leaves out the
            map, which then is 1.
        out_channels: 2 for complex, 1 for magnitude images.
        channels: channels of the backbone at its highest resolution.
        pack: side of the squares of pixels that become channels; 1 works at full resolution.
        block_stride: see :class:`~monai_stcnnt.networks.filters.estimates.ShrinkageEstimates`.
        rician: whether the bias of Rician magnitudes is taken off the first guess; by default with one channel.
            Without it, the result of one channel is that of a real image, which may be negative.
        backbone: ``hrnet``, ``unet``, or ``soanet`` (without downsampling); its ``img_size`` is that of the patches.
        layout: ``BCTHW`` takes and returns MONAI's layout (B, C, T, H, W), ``BTCHW`` frame layout.
        **backbone_options: keywords of the backbone.

    Shapes: (B, in_channels, T, H, W) to (B, out_channels, T, H, W), or (B, T, C, H, W) by ``layout``; any H and W.

    Raises:
        NetworkConfigError: for options that do not fit.
        LayoutError: in forward, for a tensor in another layout.

    Example:
        >>> net = STCNNTGuidedDenoiser(2, 1, 16, img_size=(8, 16, 16), block_strings="T1L1G1", norm="instance2d")
        >>> net(torch.randn(1, 2, 5, 30, 41)).shape
        torch.Size([1, 1, 5, 30, 41])
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 2,
        channels: int = 32,
        *,
        pack: int = 2,
        block_stride: int = 2,
        rician: bool | None = None,
        backbone: BackboneName = "hrnet",
        layout: FrameLayout = "BCTHW",
        **backbone_options: Any,  # noqa: ANN401 - checked by the backbone's constructor
    ) -> None:
        if in_channels - out_channels not in (0, 1) or pack < 1:
            raise NetworkConfigError(
                "A guided denoiser takes the image (in_channels = out_channels) and a g-factor map (one more); pack is "
                f"at least 1, got in_channels={in_channels}, out_channels={out_channels}, pack={pack}."
            )
        estimates = ShrinkageEstimates(block_stride)
        terms = estimates.count + 1
        features = out_channels * (terms + 1) + estimates.count + in_channels - out_channels
        super().__init__(
            in_channels, out_channels, layout, channels, stem_channels=features * pack**2,
            head_channels=(out_channels + terms) * pack**2, start_at_zero=True, backbone=backbone, **backbone_options,
        )  # fmt: skip
        self.pack, self.terms = pack, terms
        self.rician = out_channels == 1 if rician is None else rician
        self.estimates, self.phase = estimates, SmoothPhase()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Denoise images (B, in_channels, T, H, W), or (B, T, in_channels, H, W) by ``layout``."""
        noisy, gmap, phase = self.opened(x)
        return self.closed(self.denoised(noisy, gmap), gmap, phase)

    def with_variance(self, x: torch.Tensor, calibration: ErrorCalibration) -> torch.Tensor:
        """Denoise images, and tell the variance of the error that is left, in one more channel.

        Args:
            x: images, as ``forward`` takes them.
            calibration: for these weights.
        """
        noisy, gmap, phase = self.opened(x)
        guess, differences, errors = self.guided(noisy)
        y = self.blended(guess, differences, self.answer(guess, differences, errors, gmap))
        with torch.autocast(y.device.type, enabled=False):
            variance = calibration(y, guess, differences, errors)
        if self.in_channels > self.out_channels:
            variance = variance * gmap.square()
        return torch.cat([self.closed(y, gmap, phase), self.from_frames(variance)], self.channel_axis)

    def opened(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Frames with noise of standard deviation 1 and without smooth phase, their map, and the phase."""
        x = self.to_frames(x)
        gmap = x[:, :, self.out_channels :]
        noisy = x[:, :, : self.out_channels]
        if self.in_channels > self.out_channels:
            noisy = noisy / gmap
        if self.out_channels == 2:
            phase = self.phase(noisy)
            return turned(noisy, phase), gmap, phase
        return noisy, gmap, noisy

    def closed(self, y: torch.Tensor, gmap: torch.Tensor, phase: torch.Tensor) -> torch.Tensor:
        """Undo :meth:`opened` for denoised frames."""
        if self.out_channels == 2:
            y = turned_back(y, phase)
        return self.from_frames(y * gmap if self.in_channels > self.out_channels else y)

    def head_terms(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the network returns, and what a change of its head adds; a group is a difference or a channel."""
        noisy, gmap, phase = self.opened(x)
        guess, differences, y = self.answered(noisy, gmap)
        channels = torch.eye(self.out_channels, device=y.device).view(-1, 1, 1, self.out_channels, 1, 1)
        units = torch.cat([differences.movedim(2, 0), channels.expand(-1, *guess.shape)])
        terms = torch.cat([units * y.movedim(2, 0).unsqueeze(3), units])
        results = torch.cat([(guess + terms[: units.shape[0]].sum(0)).unsqueeze(0), terms])
        if self.out_channels == 2:
            results = torch.stack([turned_back(one, phase) for one in results])
        if self.in_channels > self.out_channels:
            results = results * gmap
        results = results if self.channel_axis == 2 else results.transpose(2, 3)
        return results[0], results[1:]

    def denoised(self, noisy: torch.Tensor, gmap: torch.Tensor) -> torch.Tensor:
        """Denoise frames (B, T, C, H, W) with noise of standard deviation 1 and no smooth phase; a map may be empty."""
        guess, differences, y = self.answered(noisy, gmap)
        return self.blended(guess, differences, y)

    def answered(self, noisy: torch.Tensor, gmap: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """First guess, differences from it, and the answer to them."""
        guess, differences, errors = self.guided(noisy)
        return guess, differences, self.answer(guess, differences, errors, gmap)

    def answer(
        self, guess: torch.Tensor, differences: torch.Tensor, errors: torch.Tensor, gmap: torch.Tensor
    ) -> torch.Tensor:
        """What the network says to what :meth:`guided` returns: (B, T, terms + C, H, W), weights and a correction."""
        features = torch.cat([differences.flatten(2, 3), torch.asinh(guess), errors, gmap], dim=2)
        y = self.trunk(fold_pixels(features, self.pack))
        return unfold_pixels(y, self.pack, (guess.shape[1], guess.shape[3], guess.shape[4]))

    def blended(self, guess: torch.Tensor, differences: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The guess with the differences by their weights and the correction, frames (B, T, C, H, W)."""
        weighted = (differences * y[:, :, : self.terms].unsqueeze(3)).sum(2)
        return guess + weighted + y[:, :, self.terms :]

    def guided(self, noisy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """First guess, differences of the noisy image and all estimates from it, and what errors are expected.

        Args:
            noisy: frames (B, T, C, H, W).

        Returns:
            Guess (B, T, C, H, W), differences (B, T, terms, C, H, W), logarithms of errors (B, T, terms - 1, H, W).
        """
        estimates, errors = self.estimates(noisy)
        mean = blend(estimates[:, :, 1:], errors[:, :, 1:])[0]
        guess = signal_of_mean(mean) if self.rician else mean
        differences = torch.cat([noisy.unsqueeze(2), estimates], dim=2) - mean.unsqueeze(2)
        return guess, differences, torch.log(errors.squeeze(3) + 1e-3)
