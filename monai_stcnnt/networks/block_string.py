# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Block strings: pairs of characters that name the cells of a block, such as ``T1L1G1``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from monai_stcnnt.errors import BlockStringError

__all__ = ["CELL_CODES", "CellKind", "CellSpec", "parse_block_string"]

CellKind = Literal["temporal", "local", "global", "vit", "swin", "conv"]


@dataclass(frozen=True)
class CellSpec:
    """What one pair of characters says.

    Attributes:
        kind: which attention (or a convolution) the cell is built around.
        spatial_dims: 2 when every frame is treated by itself, 3 when T, H and W are treated together.
        mixer: whether the cell ends with a mixer.
        shifted: whether the windows of a Swin cell are shifted.
    """

    kind: CellKind
    spatial_dims: Literal[2, 3] = 2
    mixer: bool = True
    shifted: bool = False


CELL_CODES: dict[str, CellSpec] = {
    "T0": CellSpec("temporal", mixer=False),
    "T1": CellSpec("temporal"),
    "F0": CellSpec("temporal", mixer=False),
    "F1": CellSpec("temporal"),
    "L0": CellSpec("local", mixer=False),
    "L1": CellSpec("local"),
    "L3": CellSpec("local", 3),
    "G0": CellSpec("global", mixer=False),
    "G1": CellSpec("global"),
    "G3": CellSpec("global", 3),
    "V2": CellSpec("vit", 2),
    "V3": CellSpec("vit", 3),
    "S2": CellSpec("swin", 2),
    "s2": CellSpec("swin", 2, shifted=True),
    "S3": CellSpec("swin", 3),
    "s3": CellSpec("swin", 3, shifted=True),
    "Sh": CellSpec("swin", 3, shifted=True),
    "sh": CellSpec("swin", 3),
    "C2": CellSpec("conv", 2),
    "C3": CellSpec("conv", 3),
}
"""Every code and what it means; ``F`` is ``T`` under its newer name, ``Sh`` and ``sh`` the published ``s3``, ``S3``."""


def parse_block_string(block_string: str) -> tuple[CellSpec, ...]:
    """Read a block string.

    Args:
        block_string: pairs of characters from :data:`CELL_CODES`, such as ``"T1L1G1"`` or ``"S3ShS3Sh"``.

    Returns:
        One :class:`CellSpec` per cell, first cell first.

    Raises:
        BlockStringError: names the position and the pair that is not known, and the pairs that are.
    """
    if not block_string or len(block_string) % 2:
        raise BlockStringError(
            f"A block string is made of pairs of characters, got {block_string!r} with {len(block_string)} characters. "
            f"Known pairs: {' '.join(CELL_CODES)}."
        )
    specs = []
    for position in range(0, len(block_string), 2):
        code = block_string[position : position + 2]
        if code not in CELL_CODES:
            raise BlockStringError(
                f"Block string {block_string!r} has {code!r} at position {position}; "
                f"known pairs: {' '.join(CELL_CODES)}."
            )
        specs.append(CELL_CODES[code])
    return tuple(specs)
