# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Services for scanners and archives: an MRD server, a DICOM node and a BIDS app."""

__all__: list[str] = []
