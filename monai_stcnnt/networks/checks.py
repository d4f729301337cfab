# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of the options that networks are built with."""

from __future__ import annotations

from typing import get_args

from monai_stcnnt.errors import NetworkConfigError

__all__ = ["check_choice", "check_heads", "check_positive", "check_probability"]


def check_choice(name: str, value: object, choices: object) -> None:
    """Refuse a value that is not among the choices, which are a ``Literal`` or a tuple.

    Raises:
        NetworkConfigError: with the value and the choices.
    """
    allowed = choices if isinstance(choices, tuple) else get_args(choices)
    if value not in allowed:
        raise NetworkConfigError(f"{name} must be one of {allowed}, got {value!r}.")


def check_positive(**numbers: int) -> None:
    """Refuse numbers below 1.

    Raises:
        NetworkConfigError: with the name and the number.
    """
    for name, number in numbers.items():
        if number < 1:
            raise NetworkConfigError(f"{name} must be at least 1, got {number}.")


def check_probability(name: str, value: float) -> None:
    """Refuse a probability outside of [0, 1).

    Raises:
        NetworkConfigError: with the value.
    """
    if not 0.0 <= value < 1.0:
        raise NetworkConfigError(f"{name} must be at least 0 and below 1, got {value}.")


def check_heads(features: int, num_heads: int, what: str) -> None:
    """Refuse a number of heads that does not divide the token's features.

    Raises:
        NetworkConfigError: with both numbers.
    """
    if num_heads < 1 or features % num_heads:
        raise NetworkConfigError(f"{features} features of {what} cannot be shared by num_heads={num_heads}.")
