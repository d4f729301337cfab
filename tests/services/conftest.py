# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Programs set up logging for their own process; every test puts it back."""

from __future__ import annotations

from tests.apps.conftest import logging_as_before

__all__ = ["logging_as_before"]
