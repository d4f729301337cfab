# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Handlers of a training: its state and its history."""

__all__: list[str] = []
