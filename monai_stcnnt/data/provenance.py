# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What results say about how they came about: a JSON file beside them, or attributes of their DICOM headers.

The JSON file has the name of the result and keys as in BIDS (``Description``, ``Sources``, ``GeneratedBy``). Neither it
nor a header tells when or on which machine a result was made, so that the same work gives the same files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from monai_stcnnt.data.paths import write_aside
from monai_stcnnt.data.record import SeriesRecord

__all__ = ["SOFTWARE", "Provenance", "action_of", "read_sidecar", "sidecar_action", "sidecar_path", "write_sidecar"]

SOFTWARE = "monai_stcnnt"
"""Name of the software in results; an image that has it was made by this package."""

KEY = "provenance"  # in a record's metadata

_LARGEST = 1 << 20  # bytes of a JSON file


@dataclass(frozen=True)
class Provenance:
    """How results come about, apart from their sources.

    Attributes:
        action: what was done, a past participle such as ``denoised``.
        version: of this package.
        bundle: name of the bundle.
        bundle_version: its version.
        bundle_sha256: checksum of its configs and weights.
        options: what was asked for and changes a result.
        content: what is in the file, where it is not the image itself.
    """

    action: str
    version: str
    bundle: str = ""
    bundle_version: str = ""
    bundle_sha256: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    content: str = ""

    def mark(self, record: SeriesRecord) -> SeriesRecord:
        """Add to a record what writers note of it, under the key ``provenance`` of its metadata.

        Args:
            record: the result, with the metadata of its source; ``noise_sigma`` in it is the noise level that was used.

        Returns:
            The record with the facts, as :func:`write_sidecar` writes them.
        """
        generator = {
            "Name": SOFTWARE, "Version": self.version, "Bundle": self.bundle, "BundleVersion": self.bundle_version,
            "BundleSHA256": self.bundle_sha256,
        }  # fmt: skip
        facts: dict[str, Any] = {
            "Description": f"{self.action.capitalize()} by {SOFTWARE} {self.version}"
            + (f": {self.content}" if self.content else ""),
            "Sources": [Path(str(record.metadata["source"])).name] if "source" in record.metadata else [],
            "GeneratedBy": [{name: value for name, value in generator.items() if value}],
        }
        if "noise_sigma" in record.metadata:
            facts["NoiseSigma"] = float(record.metadata["noise_sigma"])
        if self.options:
            facts["Options"] = dict(self.options)
        return replace(record, metadata={**record.metadata, KEY: facts})

    def in_words(self, device: str, sigma_from: str, date: str) -> dict[str, str]:
        """Say the same in words for a page, with what differs from run to run.

        Args:
            device: where the result was computed.
            sigma_from: where the noise level came from.
            date: when it was made.

        Returns:
            Names and values.
        """
        options = ", ".join(f"{name} {value}" for name, value in self.options.items())
        facts = {
            "Software": f"{SOFTWARE} {self.version}",
            "Bundle": f"{self.bundle} {self.bundle_version}".strip(),
            "Weights and configs": f"SHA-256 {self.bundle_sha256[:16]}" if self.bundle_sha256 else "",
            "Options": options or "the bundle's own",
            "Noise level": sigma_from,
            "Device": device,
            "Date": date,
        }
        return {name: value for name, value in facts.items() if value}


def description_of(facts: Mapping[str, Any]) -> str:
    """Say in one sentence how a result came about, for headers.

    Args:
        facts: as in a record's metadata, see :meth:`Provenance.mark`.
    """
    [generator] = facts["GeneratedBy"]
    parts = [str(facts["Description"])]
    if "Bundle" in generator:
        parts.append(" ".join(("with the bundle", generator["Bundle"], generator.get("BundleVersion", ""))).strip())
    sentence = ", ".join(parts)
    if "BundleSHA256" in generator:
        sentence += f" (SHA-256 {generator['BundleSHA256'][:16]})"
    if "NoiseSigma" in facts:
        sentence += f"; noise level {facts['NoiseSigma']:.6g}"
    if facts.get("Options"):
        sentence += "; " + ", ".join(f"{name} {value}" for name, value in facts["Options"].items())
    return sentence


def sidecar_path(path: str | Path) -> Path:
    """Name of the JSON file beside a result: its own name with ``.json`` in place of the ending.

    Args:
        path: the result.
    """
    path = Path(path)
    stem = path.name[: -len(".nii.gz")] if path.name.lower().endswith(".nii.gz") else path.stem
    return path.with_name(f"{stem}.json")


def write_sidecar(path: str | Path, facts: Mapping[str, Any]) -> Path:
    """Write the JSON file beside a result.

    Args:
        path: the result.
        facts: what it says.

    Returns:
        Its path.

    Raises:
        OutputNotWritableError: if it cannot be written.
    """
    sidecar = sidecar_path(path)
    with write_aside(sidecar) as aside:
        aside.write_text(json.dumps(facts, indent=2, allow_nan=False, default=str) + "\n", encoding="utf-8")
    return sidecar


def action_of(text: str) -> str:
    """Tell what this package did to an image, from a description that it wrote.

    Args:
        text: of a header or of the JSON file beside an image.

    Returns:
        ``denoised``, ``segmented``, or empty where the text is not of this package.
    """
    found = re.match(rf"(\w+) by {SOFTWARE}\b", text)
    return found[1].lower() if found else ""


def read_sidecar(path: str | Path) -> dict[str, Any]:
    """Read the JSON file beside an image, whoever wrote it; empty where there is none that can be read.

    Args:
        path: the image.
    """
    sidecar = sidecar_path(path)
    try:
        if sidecar.stat().st_size > _LARGEST:
            return {}
        facts = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def sidecar_action(path: str | Path) -> str:
    """Tell what this package did to an image, from the JSON file beside it; empty where there is none of this package.

    Args:
        path: the image.
    """
    return action_of(str(read_sidecar(path).get("Description", "")))
