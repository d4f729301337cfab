# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Training data: clips, numbered samples, labelled folders."""

__all__: list[str] = []
