# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Packages that only services need, imported when a service starts."""

from __future__ import annotations

import importlib
from typing import Any

from monai_stcnnt.errors import MissingPackageError

__all__ = ["needed"]


def needed(module: str, extra: str) -> Any:  # noqa: ANN401 - an untyped module
    """Import a module of an optional package.

    Args:
        module: its dotted name.
        extra: the extra that brings it.

    Returns:
        The module.

    Raises:
        MissingPackageError: if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise MissingPackageError(f"This needs the package {package}: pip install 'monai-stcnnt[{extra}]'.") from error
