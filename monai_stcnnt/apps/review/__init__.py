# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What a result looks like: figures of quality control, pictures and pages."""

__all__: list[str] = []
