# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Published checkpoints as networks of this package, loaded strictly and without running code."""

from __future__ import annotations

from monai_stcnnt.checkpoints.adapters import load_adapters, save_adapters
from monai_stcnnt.checkpoints.channels import fit_input_channels
from monai_stcnnt.checkpoints.exports import export_network
from monai_stcnnt.checkpoints.hrnet import HRNetReport, load_hrnet
from monai_stcnnt.checkpoints.snraware import load_snraware
from monai_stcnnt.checkpoints.states import load_fitting, load_weights

__all__ = [
    "HRNetReport",
    "export_network",
    "fit_input_channels",
    "load_adapters",
    "load_fitting",
    "load_hrnet",
    "load_snraware",
    "load_weights",
    "save_adapters",
]
