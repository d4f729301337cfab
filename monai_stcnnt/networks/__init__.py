# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Imaging transformers and the classic HRNet: block strings, cells, blocks, backbones and MONAI networks."""

from __future__ import annotations

__all__: list[str] = []
