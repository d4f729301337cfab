# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""An MRD server: images from a scanner's reconstruction in, denoised images back."""

__all__: list[str] = []
