# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Programs on top of the bundles: thin, each a function and a command."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai_stcnnt.apps.converting import convert
    from monai_stcnnt.apps.denoising import denoise
    from monai_stcnnt.apps.info import describe
    from monai_stcnnt.apps.segmenting import segment

__all__ = ["convert", "denoise", "describe", "segment"]

_MODULES = {"convert": "converting", "denoise": "denoising", "describe": "info", "segment": "segmenting"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the functions of __all__
    """Import on first use, so that ``stcnnt --help`` does not wait for torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
