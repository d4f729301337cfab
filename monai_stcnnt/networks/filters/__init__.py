# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Filters usable without a network: shrinkage, grouping, estimates, phase."""

__all__: list[str] = []
