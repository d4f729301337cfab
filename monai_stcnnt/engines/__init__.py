# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What bundles target: streamed denoising, optimization, and the processes of a run."""

__all__: list[str] = []
