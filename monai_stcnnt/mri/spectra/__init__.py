# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The part of k-space that noise fills, found from the image: profiles, bands of magnitudes, and spectra."""

from __future__ import annotations

__all__: list[str] = []
