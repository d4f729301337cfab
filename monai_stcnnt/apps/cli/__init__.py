# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The command line, one file per command."""

__all__: list[str] = []
