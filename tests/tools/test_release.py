# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of a release agree with what they are made from, and MONAI fetches and checks the weights they list."""

from __future__ import annotations

import re
import shutil
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml
from monai.apps.utils import HashCheckError
from monai.bundle.scripts import download_large_files

from monai_stcnnt import __version__
from tools.release import citation, conda_recipe, large_files

__all__: list[str] = []

REPOSITORY = Path(__file__).resolve().parents[2]


def configuration() -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    return parser


def test_the_citation_and_the_recipe_are_up_to_date() -> None:
    """Run ``python tools/release.py files`` to renew them."""
    text = (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    assert citation(text, (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")) == text
    assert conda_recipe(configuration()) == (REPOSITORY / "conda" / "meta.yaml").read_text(encoding="utf-8")


def test_the_date_is_that_of_the_changelog() -> None:
    text = "title: a\nversion: 0.0.0\ndate-released: 1999-01-01\nlicense: b\n"
    changelog = f"## [Unreleased]\n\n## [{__version__}] - 2026-05-04\n"
    dated = f"title: a\nversion: {__version__}\ndate-released: 2026-05-04\nlicense: b\n"
    assert citation(text, changelog) == citation(dated, changelog) == dated
    assert yaml.safe_load(citation(text, "## [Unreleased]\n")).keys() == {"title", "version", "license"}


def test_the_recipe_asks_for_what_the_package_asks_for() -> None:
    recipe = yaml.safe_load(conda_recipe(configuration()).replace("{{ PYTHON }}", "python"))
    asked = [line for line in configuration()["options"]["install_requires"].splitlines() if line]
    run = recipe["requirements"]["run"]
    assert len(run) == len(asked) + 1
    assert {"pytorch", "ignite", "monai"} <= {entry.split()[0] for entry in run}
    assert recipe["package"]["version"] == __version__
    assert all(re.fullmatch(r"[a-z0-9-]+ [<>=].+", entry) for entry in run)


def test_monai_fetches_the_listed_weights_and_refuses_others(tmp_path: Path) -> None:
    source, target = tmp_path / "host" / "mine", tmp_path / "mine"
    (source / "models").mkdir(parents=True)
    (target / "models").mkdir(parents=True)
    (source / "models" / "model.pt").write_bytes(b"weights")
    text = large_files(source, (tmp_path / "host").as_uri())
    (target / "large_files.yml").write_text(text)
    download_large_files(str(target))
    assert (target / "models" / "model.pt").read_bytes() == b"weights"
    shutil.rmtree(target / "models")
    (source / "models" / "model.pt").write_bytes(b"other weights")
    with pytest.raises(HashCheckError):
        download_large_files(str(target))
