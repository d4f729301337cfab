# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m monai_stcnnt``: the same as ``stcnnt``, where that is not on the path."""

from __future__ import annotations

from monai_stcnnt.apps.cli.app import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
