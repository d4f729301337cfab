# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Many series: tasks, how they are run, and the manifest that remembers them."""

__all__: list[str] = []
