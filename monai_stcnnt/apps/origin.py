# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""How results came about: for the files beside them, for headers, and for pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from monai_stcnnt.apps.batch.manifest import Recipe
from monai_stcnnt.data.provenance import SOFTWARE, Provenance

__all__ = ["origin_of", "provenance_of"]


def provenance_of(action: str, bundle: Path, recipe: Recipe) -> Provenance:
    """Describe how a bundle makes results.

    Args:
        action: what it does, a past participle such as ``denoised``.
        bundle: its folder.
        recipe: what results depend on beside their input.

    Returns:
        The description; options that were left at the bundle's own choice are not in it.
    """
    metadata = bundle / "configs" / "metadata.json"
    described: dict[str, Any] = json.loads(metadata.read_text(encoding="utf-8")) if metadata.is_file() else {}
    chosen = {name: value for name, value in recipe.options.items() if value not in (None, False, "same", "auto")}
    version = str(described.get("version", ""))
    return Provenance(action, recipe.version, bundle.resolve().name, version, recipe.bundle, chosen)


def origin_of(provenance: Provenance, device: str, sigma_from: str, date: str) -> dict[str, str]:
    """Say the same in words for a page, with what differs from run to run.

    Args:
        provenance: how the result came about.
        device: where it was computed.
        sigma_from: where the noise level came from.
        date: when it was made.

    Returns:
        Names and values.
    """
    options = ", ".join(f"{name} {value}" for name, value in provenance.options.items())
    facts = {
        "Software": f"{SOFTWARE} {provenance.version}",
        "Bundle": f"{provenance.bundle} {provenance.bundle_version}".strip(),
        "Weights and configs": f"SHA-256 {provenance.bundle_sha256[:16]}" if provenance.bundle_sha256 else "",
        "Options": options or "the bundle's own",
        "Noise level": sigma_from,
        "Device": device,
        "Date": date,
    }
    return {name: value for name, value in facts.items() if value}
