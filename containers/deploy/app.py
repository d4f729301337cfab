# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What ``monai-deploy package containers/deploy`` starts."""

from monai_stcnnt.services.deploy import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
