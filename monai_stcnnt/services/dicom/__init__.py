# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""A DICOM node: series from an archive in, derived series and segmentations on."""

__all__: list[str] = []
