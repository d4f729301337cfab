# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Programs on top of the bundles: thin, each a function and a command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai_stcnnt.apps.batch.run import denoise_many
    from monai_stcnnt.apps.converting import convert
    from monai_stcnnt.apps.denoising import denoise
    from monai_stcnnt.apps.info import describe
    from monai_stcnnt.apps.segmenting import segment

__all__ = ["convert", "denoise", "denoise_many", "describe", "segment"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the functions of __all__
    """Import on first use, so that ``stcnnt --help`` does not wait for torch."""
    if name == "denoise":
        from monai_stcnnt.apps.denoising import denoise

        return denoise
    if name == "denoise_many":
        from monai_stcnnt.apps.batch.run import denoise_many

        return denoise_many
    if name == "convert":
        from monai_stcnnt.apps.converting import convert

        return convert
    if name == "describe":
        from monai_stcnnt.apps.info import describe

        return describe
    if name == "segment":
        from monai_stcnnt.apps.segmenting import segment

        return segment
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
