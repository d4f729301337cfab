# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Imaging transformers and convolutional HRNets for MR images with a frame axis: a MONAI extension.

Importing this module loads nothing else. The parts are

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

__all__ = ["__version__"]

__version__ = "0.1.0"
