# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""A BIDS app: a dataset in, its denoised derivatives out."""

__all__: list[str] = []
