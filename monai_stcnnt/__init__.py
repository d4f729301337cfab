# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Imaging transformers and convolutional HRNets for MR images with a frame axis: a MONAI extension.

What most users call stands here::

    import monai_stcnnt

    monai_stcnnt.describe("dicom_folder")  # what it holds
    monai_stcnnt.denoise("scan.nii.gz", "denoised.nii.gz")
    monai_stcnnt.segment("cine.nii.gz", "masks", csv="volumes.csv")
    monai_stcnnt.read_series("denoised.nii.gz").array  # (channel, time, z, y, x)

Importing this module loads nothing else; the functions load what they need when they are first asked for. The parts are

- :mod:`monai_stcnnt.networks`: attentions, cells, blocks, backbones and the networks built from them;
- :mod:`monai_stcnnt.mri`: Fourier transforms, k-space filters, noise and SNR units as pure tensor functions;
- :mod:`monai_stcnnt.transforms`, :mod:`monai_stcnnt.inferers`, :mod:`monai_stcnnt.losses`, :mod:`monai_stcnnt.metrics`:
  what MONAI workflows need around the networks;
- :mod:`monai_stcnnt.data`: readers and writers of scanner files;
- :mod:`monai_stcnnt.checkpoints`: published weights by their own names;
- :mod:`monai_stcnnt.apps`: the ``stcnnt`` command line;
- :mod:`monai_stcnnt.errors`: one exception class per cause.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai_stcnnt.apps import convert, denoise, describe, segment
    from monai_stcnnt.data import read_series

__all__ = ["__version__", "convert", "denoise", "describe", "read_series", "segment"]

__version__ = "0.1.0"

_MODULES = {
    "convert": "apps", "denoise": "apps", "describe": "apps", "segment": "apps", "read_series": "data",
}  # fmt: skip


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the functions of __all__
    """Import on first use, so that neither torch nor MONAI is loaded for the version."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
