# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Options that are refused, with what is said."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from monai_stcnnt.errors import NetworkConfigError
from monai_stcnnt.networks.checks import check_choice, check_heads, check_positive, check_probability

__all__: list[str] = []


@pytest.mark.parametrize(
    ("check", "arguments", "said"),
    [
        (check_choice, ("kind", "x", ("y", "z")), r"kind must be one of \('y', 'z'\), got 'x'"),
        (check_choice, ("kind", "x", Literal["y"]), "kind must be one of"),
        (check_heads, (6, 4, "a token"), "6 features of a token cannot be shared by num_heads=4"),
        (check_heads, (6, 0, "a token"), "num_heads=0"),
        (check_probability, ("drop", 1.0), "drop must be"),
        (check_probability, ("drop", -0.1), "-0.1"),
    ],
)
def test_wrong_options_are_refused(check: Any, arguments: tuple[Any, ...], said: str) -> None:  # noqa: ANN401
    with pytest.raises(NetworkConfigError, match=said):
        check(*arguments)


def test_what_is_not_positive_is_named() -> None:
    with pytest.raises(NetworkConfigError, match="classes must be at least 1, got 0"):
        check_positive(channels=3, classes=0)


def test_what_is_allowed_passes() -> None:
    check_choice("kind", "y", Literal["y", "z"])
    check_heads(6, 3, "a token")
    check_positive(channels=1)
    check_probability("drop", 0.0)
