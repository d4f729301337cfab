# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What stands around networks: several as one by their channels, mirror images, and a look at what they give."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, combinations

import torch
from torch import nn

from monai_stcnnt.errors import LayoutError, NetworkConfigError, OptionError
from monai_stcnnt.networks.nets.base import FrameNet
from monai_stcnnt.networks.nets.error_calibration import ErrorCalibration
from monai_stcnnt.networks.nets.guided_denoiser import STCNNTGuidedDenoiser
from monai_stcnnt.tensors import check_network_output

__all__ = ["ChannelRouter", "CheckedDenoiser", "FlipEnsemble", "UncertainDenoiser"]

KINDS = {2: "magnitude images", 3: "complex images"}
"""What images in SNR units are by their channels, the g-factor map among them."""

_COMPLEX = 3


class ChannelRouter(nn.Module):
    """Send an input to the network that takes its number of channels.

    A folder may hold magnitude and complex images; each goes through the network made for it. Magnitudes whose noise is
    not white are real images once it is: complex ones whose imaginary part is zero everywhere. These may have a network
    of their own.

    Args:
        networks: networks of the layout (B, C, T, H, W) with different ``in_channels``.
        real: network for real images, of 2 channels with the g-factor map.
        amp: let them compute in bfloat16 where that is safe, on any device.

    Shapes: (B, in_channels, T, H, W) of one of the networks to its output; real images are (B, 3, T, H, W) like complex
    ones, and so is their result, whose imaginary part is zero.

    Raises:
        NetworkConfigError: when two networks take the same number of channels.
        LayoutError: in forward, for a number of channels that none takes.
    """

    def __init__(self, networks: Sequence[FrameNet], real: FrameNet | None = None, *, amp: bool = False) -> None:
        super().__init__()
        self.amp = amp
        self.networks = nn.ModuleList(networks)
        self.channels = [net.in_channels for net in networks]
        if len(set(self.channels)) < len(self.channels):
            raise NetworkConfigError(f"The networks must differ in their input channels, got {self.channels}.")
        if real is not None and (real.in_channels, real.out_channels) != (2, 1):
            raise NetworkConfigError(
                "A network for real images takes 2 channels and gives 1, this one takes "
                f"{real.in_channels} and gives {real.out_channels}."
            )
        self.real = real

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network that fits (B, C, T, H, W)."""
        with self.precision(x.device):
            if self.takes_real(x):
                return as_complex_channels(self.real(x[:, ::2]))  # type: ignore[misc]  # there is one
            out: torch.Tensor = self.networks[self.index_of(x.shape[1])](x)
        return out

    def takes_real(self, x: torch.Tensor) -> bool:
        """Whether an input is real, and there is a network for that."""
        return self.real is not None and x.shape[1] == _COMPLEX and not bool(x[:, 1].any())

    def precision(self, device: torch.device) -> AbstractContextManager[object]:
        """In which the networks compute on a device."""
        return torch.autocast(device.type, dtype=torch.bfloat16) if self.amp else nullcontext()

    def index_of(self, channels: int) -> int:
        """Number of the network that takes so many channels.

        Raises:
            LayoutError: where none does.
        """
        if channels not in self.channels:
            taken = " or ".join(_describe(known) for known in self.channels)
            raise LayoutError(
                f"There is a network for {taken} only, not for {_describe(channels)}. Choose a bundle that has one."
            )
        return self.channels.index(channels)


def as_complex_channels(out: torch.Tensor) -> torch.Tensor:
    """What a network for real images gives, (B, 1, T, H, W) and perhaps a variance, with an imaginary part of zeros."""
    return torch.cat([out[:, :1], torch.zeros_like(out[:, :1]), out[:, 1:]], 1)


def _describe(channels: int) -> str:
    return f"{KINDS.get(channels, 'images')} ({channels} channels with the g-factor map)"


class UncertainDenoiser(nn.Module):
    """Denoise, and tell the variance of the error that is left, in one more channel.

    The image channels are those of the networks themselves.

    Args:
        router: guided denoisers.
        calibrations: of each, in the same order, that of the network for real images last.

    Shapes: (B, C + 1, T, H, W) to (B, C + 1, T, H, W): the last channel is the g-factor map, then the variance, both in
    SNR units. For complex images it is that of the real part and of the imaginary part.

    Raises:
        OptionError: for networks that do not know what error to expect.
    """

    def __init__(self, router: ChannelRouter, calibrations: Sequence[ErrorCalibration]) -> None:
        super().__init__()
        networks = [*router.networks, *([] if router.real is None else [router.real])]
        if not all(isinstance(net, STCNNTGuidedDenoiser) for net in networks):
            raise OptionError(
                "Only networks that start from estimates (STCNNTGuidedDenoiser) tell the error of their results. Leave "
                "save_uncertainty out, or take another bundle."
            )
        self.router = router
        self.calibrations = nn.ModuleList(calibrations)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network that fits (B, C, T, H, W)."""
        with self.router.precision(x.device):
            if self.router.takes_real(x):
                real: STCNNTGuidedDenoiser = self.router.real  # type: ignore[assignment]  # there is one
                return as_complex_channels(real.with_variance(x[:, ::2], self.calibrations[-1]))  # type: ignore[arg-type]
            index = self.router.index_of(x.shape[1])
            network = self.router.networks[index]
            out: torch.Tensor = network.with_variance(x, self.calibrations[index])  # type: ignore[operator]
        return out


class FlipEnsemble(nn.Module):
    """Average a network over mirror images of its input, each turned back.

    The result is equivariant to these flips whatever the network is. It costs a run of the network for each of them:
    2 to the number of axes.

    Args:
        network: takes and returns tensors whose axes ``flip_dims`` mean the same in both, such as (B, C, T, H, W).
        flip_dims: axes to mirror along; without any, the network runs as it is.

    Shapes: those of the network.

    Example:
        >>> FlipEnsemble(torch.nn.Conv3d(2, 1, 1))(torch.rand(1, 2, 5, 8, 6)).shape
        torch.Size([1, 1, 5, 8, 6])
    """

    def __init__(self, network: nn.Module, flip_dims: Sequence[int] = (-2, -1)) -> None:
        super().__init__()
        self.network = network
        sizes = range(len(flip_dims) + 1)
        self.flips = list(chain.from_iterable(combinations(flip_dims, size) for size in sizes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network on every mirror image and return the mean."""
        total: torch.Tensor = self.network(x)
        for dims in self.flips[1:]:
            total = total + self.network(x.flip(dims)).flip(dims)
        return total / len(self.flips)


class CheckedDenoiser(nn.Module):
    """Refuse what a denoising network gives if it is not finite, and keep magnitudes from becoming negative.

    A magnitude is raised to zero, or to the value of the input where that is below zero already, as in images that are
    not magnitudes. Windows that overlap are averaged with positive weights, so that the whole image keeps the law.

    Args:
        network: takes (B, C + 1, T, H, W), the g-factor map last, and returns (B, C, T, H, W), or as
            :class:`UncertainDenoiser` one channel more.

    Shapes: those of the network.

    Raises:
        NetworkOutputError: in forward, for values that are NaN or infinite.

    Example:
        >>> CheckedDenoiser(torch.nn.Conv3d(2, 1, 1))(torch.rand(1, 2, 5, 8, 6)).shape
        torch.Size([1, 1, 5, 8, 6])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network and check what it gives."""
        out: torch.Tensor = self.network(x)
        check_network_output(out)
        if out.shape[1] > 1 and x.shape[1] != 2:
            return out
        magnitude = out[:, :1].maximum(x[:, :1].clamp(max=0))
        return torch.cat([magnitude, out[:, 1:]], 1) if out.shape[1] > 1 else magnitude
