# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The error of this package below those that MONAI wraps around it."""

from __future__ import annotations

from monai_stcnnt.errors import StcnntError

__all__ = ["cause_of"]


def cause_of(error: BaseException) -> StcnntError:
    """Follow the causes of an error down to the first of this package."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, StcnntError):
        cause = cause.__cause__ or cause.__context__
    assert isinstance(cause, StcnntError)
    return cause
