# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Few examples, the same ones every time, and nothing stored: what fails once, fails again."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

__all__: list[str] = []

settings.register_profile(
    "laws",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("laws")
