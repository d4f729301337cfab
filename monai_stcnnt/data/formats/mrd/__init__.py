# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""MRD, the ISMRM raw data standard: its images, in files and from a scanner's stream."""

__all__: list[str] = []
