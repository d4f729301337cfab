# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM: headers to frames, frames to series, series to files."""

__all__: list[str] = []
