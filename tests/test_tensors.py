# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Reflection and rolling of positions, and results that are no numbers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

from monai_stcnnt.errors import NetworkOutputError
from monai_stcnnt.tensors import check_network_output, cyclic_index, reflect_index

__all__: list[str] = []

CPU = torch.device("cpu")


def test_reflection_folds_as_often_as_it_needs() -> None:
    assert reflect_index(4, 12, CPU).tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1]


@pytest.mark.parametrize("start", [-4, 0, 7])
def test_one_element_is_repeated(start: int) -> None:
    assert reflect_index(1, 3, CPU, start).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("before", "after"), [(0, 3), (4, 0), (2, 4)])
def test_margins_are_those_of_torch(before: int, after: int) -> None:
    x = torch.randn(1, 5)
    index = reflect_index(5, before + 5 + after, CPU, -before)
    torch.testing.assert_close(x[:, index], F.pad(x, [before, after], mode="reflect"), rtol=0, atol=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_network_that_makes_no_numbers_is_refused(value: float) -> None:
    out = torch.ones(2, 3)
    check_network_output(out)
    out[1, 2] = value
    with pytest.raises(NetworkOutputError, match="weights"):
        check_network_output(out)


@pytest.mark.parametrize("shift", [-2, 0, 3, 7])
def test_rolling_by_positions_is_that_of_torch(shift: int) -> None:
    x = torch.randn(2, 5)
    torch.testing.assert_close(x[:, cyclic_index(5, shift, CPU)], torch.roll(x, -shift, 1), rtol=0, atol=0)
