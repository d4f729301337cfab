# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""MONAI networks: they take and return (B, C, T, H, W) by default, and (B, T, C, H, W) on request."""

from __future__ import annotations

from monai_stcnnt.networks.nets.denoiser import STCNNTDenoiser

__all__ = ["STCNNTDenoiser"]
