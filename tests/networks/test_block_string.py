# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Block strings: what every pair means, and what is refused."""

from __future__ import annotations

import pytest

from monai_stcnnt.errors import BlockStringError
from monai_stcnnt.networks.block_string import CELL_CODES, CellSpec, parse_block_string

__all__: list[str] = []


MEANINGS = [
    ("T0", "temporal", 2, False, False),
    ("T1", "temporal", 2, True, False),
    ("F0", "temporal", 2, False, False),
    ("F1", "temporal", 2, True, False),
    ("L0", "local", 2, False, False),
    ("L1", "local", 2, True, False),
    ("L3", "local", 3, True, False),
    ("G0", "global", 2, False, False),
    ("G1", "global", 2, True, False),
    ("G3", "global", 3, True, False),
    ("V2", "vit", 2, True, False),
    ("V3", "vit", 3, True, False),
    ("S2", "swin", 2, True, False),
    ("s2", "swin", 2, True, True),
    ("S3", "swin", 3, True, False),
    ("s3", "swin", 3, True, True),
    ("Sh", "swin", 3, True, True),
    ("sh", "swin", 3, True, False),
    ("C2", "conv", 2, True, False),
    ("C3", "conv", 3, True, False),
]


@pytest.mark.parametrize(("code", "kind", "spatial_dims", "mixer", "shifted"), MEANINGS)
def test_meaning_of_a_pair(code: str, kind: str, spatial_dims: int, mixer: bool, shifted: bool) -> None:
    spec = parse_block_string(code)[0]
    assert (spec.kind, spec.spatial_dims, spec.mixer, spec.shifted) == (kind, spatial_dims, mixer, shifted)


def test_every_pair_has_its_meaning_above() -> None:
    assert {code for code, *_ in MEANINGS} == set(CELL_CODES)


def test_cells_keep_their_order() -> None:
    assert parse_block_string("T1L0Sh") == (
        CellSpec("temporal"),
        CellSpec("local", mixer=False),
        CellSpec("swin", 3, shifted=True),
    )


@pytest.mark.parametrize(
    ("string", "said"),
    [
        ("T1X1", ["'X1'", "position 2", "T1 "]),
        ("t1", ["'t1'", "position 0"]),
        ("T1L1G2", ["'G2'", "position 4"]),
        ("T1 L1", ["5 characters"]),
        ("T1L", ["3 characters"]),
        ("", ["0 characters"]),
    ],
)
def test_unknown_pair_is_refused_with_its_position(string: str, said: list[str]) -> None:
    with pytest.raises(BlockStringError) as error:
        parse_block_string(string)
    for words in [*said, "nown pairs"]:
        assert words in str(error.value)
