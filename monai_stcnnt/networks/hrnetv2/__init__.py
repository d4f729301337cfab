# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The classic HRNet: net, modules, object-contextual head, inflation to 3D."""

__all__: list[str] = []
