# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Layers that the cells and backbones are made of; all take tensors in frame layout (B, T, C, H, W)."""

from __future__ import annotations

__all__: list[str] = []
