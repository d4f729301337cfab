# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the package as it is installed: what a wheel carries, what it asks for, and what a plain import loads."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__: list[str] = []

REPOSITORY = Path(__file__).resolve().parents[1]
# Where the name to import is not the name to install.
DISTRIBUTIONS = {"PIL": "pillow", "ignite": "pytorch-ignite", "skimage": "scikit-image", "yaml": "pyyaml"}
# A bundle with one file of each kind that bundles have, so that every pattern of setup.cfg is tried.
PROBE = [
    "LICENSE",
    "configs/inference.json",
    "configs/logging.conf",
    "configs/metadata.json",
    "docs/README.md",
    "models/model.pt",
]


def configuration() -> ConfigParser:
    """Read setup.cfg."""
    parser = ConfigParser(interpolation=None)
    parser.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    return parser


def extras_of_tests() -> list[str]:
    """Requirements of the tests, with those of the extras that they bring."""
    extras = configuration()["options.extras_require"]
    return [extras[name] for name in ("test", "cluster", "files", "dicom", "mrd", "dicom-node", "bids")]


def requirements(text: str) -> list[Requirement]:
    """Parse requirements, one a line."""
    return [Requirement(line) for line in text.splitlines() if line.strip() and not line.startswith("#")]


def bundle_files(folder: Path) -> set[str]:
    """List what bundles consist of, relative to the folder; what runs leave there is not part of it."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in files if not {"__pycache__", "eval"} & set(path.parts)}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy of what a wheel is built from, with one more bundle, so that building writes nothing into the repository."""
    root = tmp_path_factory.mktemp("source")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(REPOSITORY / name, root)
    for name in ("monai_stcnnt", "bundles"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "eval"))
    for name in PROBE:
        path = root / "bundles" / "probe" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"probe")
    return root


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel with what is installed, without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    options = [
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--no-cache-dir",
        "--wheel-dir",
        str(folder),
    ]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that holds the wheel's content, as site-packages would."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_wheel_carries_every_module(source: Path, installed: Path) -> None:
    modules = {path.relative_to(source).as_posix() for path in (source / "monai_stcnnt").rglob("*.py")}
    found = {path.relative_to(installed).as_posix() for path in installed.rglob("*.py")}
    assert found == modules
    assert (installed / "monai_stcnnt" / "py.typed").is_file()


def test_wheel_carries_the_bundles(source: Path, installed: Path) -> None:
    expected = bundle_files(source / "bundles")
    assert {f"probe/{name}" for name in PROBE} <= expected
    assert bundle_files(installed / "monai_stcnnt" / "bundles") == expected


def test_wheel_puts_nothing_else_at_the_top(installed: Path) -> None:
    (information,) = installed.glob("*.dist-info")
    assert {path.name for path in installed.iterdir()} == {"monai_stcnnt", information.name}


def test_wheel_describes_itself(installed: Path) -> None:
    (information,) = installed.glob("*.dist-info")
    metadata = (information / "METADATA").read_text(encoding="utf-8")
    assert re.search(r"^License-Expression: Apache-2.0$", metadata, re.MULTILINE)
    assert re.search(r"^Requires-Python: >=3.11$", metadata, re.MULTILINE)
    assert "stcnnt = monai_stcnnt.apps.cli.app:main" in (information / "entry_points.txt").read_text(encoding="utf-8")
    assert (information / "licenses" / "LICENSE").is_file()


def test_installed_package_finds_its_bundles(installed: Path) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(installed)!r})\n"
        "import importlib.resources, monai_stcnnt\n"
        "folder = importlib.resources.files('monai_stcnnt').joinpath('bundles', 'probe', 'configs')\n"
        "assert folder.joinpath('inference.json').is_file(), folder\n"
        "assert not {'torch', 'monai', 'numpy'} & set(sys.modules), 'the package itself imports nothing'\n"
        "assert __import__('importlib.metadata').metadata.version('monai-stcnnt') == monai_stcnnt.__version__\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-S", "-W", "error", "-c", program]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, cwd=installed, env=environment
    )
    assert done.returncode == 0, done.stderr


def test_every_package_is_listed() -> None:
    packages = {".".join(path.parent.relative_to(REPOSITORY).parts) for path in REPOSITORY.glob("monai_stcnnt/**/*.py")}
    without_init = {name for name in packages if not (REPOSITORY / name.replace(".", "/") / "__init__.py").is_file()}
    assert without_init == set()
    assert set(configuration()["options"]["packages"].split()) == packages | {"monai_stcnnt.bundles"}


@pytest.mark.parametrize("folder", ["monai_stcnnt", "tests"])
def test_every_import_is_declared(folder: str) -> None:
    text = configuration()["options"]["install_requires"]
    extras = configuration()["options.extras_require"]
    # The only module that imports dask is imported when workers are asked for.
    text += "\n".join(extras_of_tests()) if folder == "tests" else extras["cluster"]
    known = {canonicalize_name(item.name) for item in requirements(text)} | {"monai-stcnnt"}
    undeclared, own = set(), {"tests", "benchmarks", "docs", "tools"}
    for path in (REPOSITORY / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for top in {name.split(".")[0] for name in names} - sys.stdlib_module_names - own:
                if canonicalize_name(DISTRIBUTIONS.get(top, top)) not in known:
                    undeclared.add(f"{path.relative_to(REPOSITORY)}: {top}")
    assert undeclared == set()


def test_constraints_pin_what_is_tested() -> None:
    extras = configuration()["options.extras_require"]
    text = "\n".join([configuration()["options"]["install_requires"], *extras_of_tests(), extras["dev"]])
    pinned = {
        canonicalize_name(item.name): next(iter(item.specifier)).version
        for item in requirements((REPOSITORY / "constraints.txt").read_text(encoding="utf-8"))
    }
    tested = [item for item in requirements(text) if canonicalize_name(item.name) != "monai-stcnnt"]
    assert [str(item) for item in tested if canonicalize_name(item.name) not in pinned] == []
    assert [str(item) for item in tested if pinned[canonicalize_name(item.name)] not in item.specifier] == []


def test_version_is_the_same_everywhere() -> None:
    import monai_stcnnt

    citation = (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {monai_stcnnt.__version__}\n" in citation
