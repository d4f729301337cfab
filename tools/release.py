# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of a release that are made from others, so that nothing stands in two places.

``python tools/release.py files`` writes version and date into ``CITATION.cff`` (the version from the package, the date
from its heading in ``CHANGELOG.md``, none before it is released) and ``conda/meta.yaml`` (from ``setup.cfg``).

``python tools/release.py large-files https://HOST/PATH`` writes a ``large_files.yml`` into each bundle, as in MONAI's
model zoo: for a repository without weights, which ``python -m monai.bundle download_large_files`` then fetches from
``https://HOST/PATH/BUNDLE/models/model.pt`` and checks by SHA-256.
"""

from __future__ import annotations

import hashlib
import re
from configparser import ConfigParser
from pathlib import Path
from typing import Annotated

import typer
import yaml

from monai_stcnnt import __version__

__all__ = ["citation", "conda_recipe", "large_files"]

REPOSITORY = Path(__file__).resolve().parents[1]
CONDA_NAMES = {"torch": "pytorch", "pytorch-ignite": "ignite", "matplotlib": "matplotlib-base"}
"""Names on conda-forge that differ from those on the package index."""


def citation(text: str, changelog: str) -> str:
    """Set version and date of a citation.

    Args:
        text: of ``CITATION.cff``.
        changelog: of ``CHANGELOG.md``.

    Returns:
        The new text; without a date where the version is not released.
    """
    text = re.sub(r"^date-released: .*\n", "", text, flags=re.MULTILINE)
    released = re.search(rf"^## \[{re.escape(__version__)}\] - (\d{{4}}-\d{{2}}-\d{{2}})$", changelog, re.MULTILINE)
    lines = f"version: {__version__}\n" + (f"date-released: {released[1]}\n" if released else "")
    return re.sub(r"^version: .*\n", lines, text, count=1, flags=re.MULTILINE)


def conda_recipe(configuration: ConfigParser) -> str:
    """Make the conda recipe.

    Args:
        configuration: ``setup.cfg``.

    Returns:
        The text of ``meta.yaml``.
    """
    metadata, options = configuration["metadata"], configuration["options"]
    run = [f"python {options['python_requires']}"]
    for line in filter(None, map(str.strip, options["install_requires"].splitlines())):
        name, version = re.split(r"(?=[<>=])", line, maxsplit=1)
        run.append(f"{CONDA_NAMES.get(name, name.lower())} {version}")
    recipe = {
        "package": {"name": metadata["name"], "version": __version__},
        "source": {"path": ".."},
        "build": {
            "noarch": "python",
            "script": "{{ PYTHON }} -m pip install . --no-deps --no-build-isolation -vv",
            "entry_points": configuration["options.entry_points"]["console_scripts"].strip().splitlines(),
        },
        "requirements": {"host": [f"python {options['python_requires']}", "pip", "setuptools >=77"], "run": run},
        "test": {"imports": ["monai_stcnnt"], "commands": ["stcnnt --help"]},
        "about": {
            "summary": metadata["description"],
            "license": metadata["license_expression"],
            "license_file": metadata["license_files"],
        },
    }
    text: str = yaml.safe_dump(recipe, sort_keys=False, width=120)
    return f"# Made from setup.cfg by tools/release.py.\n{text}"


def large_files(bundle: Path, address: str) -> str:
    """List the weights of a bundle for ``python -m monai.bundle download_large_files``.

    Args:
        bundle: folder of the bundle.
        address: where the folders of the bundles will be.

    Returns:
        The text of ``large_files.yml``.
    """
    entries = [
        {
            "path": f"models/{file.name}",
            "url": f"{address.rstrip('/')}/{bundle.name}/models/{file.name}",
            "hash_val": hashlib.sha256(file.read_bytes()).hexdigest(),
            "hash_type": "sha256",
        }
        for file in sorted((bundle / "models").glob("*.pt"))
    ]
    text: str = yaml.safe_dump({"large_files": entries}, sort_keys=False, width=200)
    return text


def main(
    what: Annotated[str, typer.Argument(help="files or large-files.")],
    address: Annotated[str, typer.Argument(help="Where the weights will be, for large-files.")] = "",
) -> None:
    """Write the files of a release."""
    if what == "files":
        configuration = ConfigParser(interpolation=None)
        configuration.read(REPOSITORY / "setup.cfg", encoding="utf-8")
        file, changelog = REPOSITORY / "CITATION.cff", (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
        file.write_text(citation(file.read_text(encoding="utf-8"), changelog), encoding="utf-8")
        (REPOSITORY / "conda" / "meta.yaml").write_text(conda_recipe(configuration), encoding="utf-8")
    elif what == "large-files" and re.match(r"(https?|file)://", address):
        for bundle in sorted(path.parent for path in (REPOSITORY / "bundles").glob("*/models")):
            (bundle / "large_files.yml").write_text(large_files(bundle, address), encoding="utf-8")
    else:
        raise typer.BadParameter("Give `files`, or `large-files` and an address such as https://HOST/PATH.")


if __name__ == "__main__":
    typer.run(main)
