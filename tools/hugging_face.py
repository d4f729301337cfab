# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Lay out the bundles as model repositories of Hugging Face: ``python -m tools.hugging_face FOLDER``.

Such a repository is a bundle with a model card at its top: README.md, whose first lines say license, library and tags.
``monai.bundle.load(name, bundle_dir=FOLDER, workflow_type="inference")`` loads it from there, and
``source="huggingface_hub", repo="OWNER/NAME"`` from the hub once it is uploaded. Nothing is uploaded here.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import yaml

from monai_stcnnt.apps.bundles import bundle_folder
from monai_stcnnt.errors import OutputNotWritableError

__all__ = ["BUNDLES", "lay_out"]

BUNDLES = ("mri_denoising", "cine_segmentation")


def lay_out(name: str, folder: Path) -> Path:
    """Copy a bundle into the layout of a model repository.

    Args:
        name: of the bundle.
        folder: where the repository's folder is made.

    Returns:
        The repository.

    Raises:
        OutputNotWritableError: if it exists.
    """
    source, target = bundle_folder(name), folder / name
    if target.exists():
        raise OutputNotWritableError(f"{target} exists already. Choose another folder, or remove it.")
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "eval", "*.log"))
    metadata = json.loads((source / "configs" / "metadata.json").read_text(encoding="utf-8"))
    head = {
        "license": "apache-2.0", "library_name": "monai", "tags": ["monai", "medical", "mri", *name.split("_")],
        "model_name": metadata["name"], "version": metadata["version"],
    }  # fmt: skip
    card = (source / "docs" / "README.md").read_text(encoding="utf-8")
    (target / "README.md").write_text(f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n{card}", encoding="utf-8")
    (target / ".gitattributes").write_text("*.pt filter=lfs diff=lfs merge=lfs -text\n", encoding="utf-8")
    return target


def main() -> None:
    """Lay out all bundles."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the repositories' folders are made")
    folder = parser.parse_args().folder
    for name in BUNDLES:
        lay_out(name, folder)


if __name__ == "__main__":
    main()
