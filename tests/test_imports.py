# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws that every source file keeps: the direction of imports, the license header, ``__all__``, no prints, no stars.

The files are parsed, not imported, so that an import inside a function or under ``TYPE_CHECKING`` counts as well.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__: list[str] = []

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = "monai_stcnnt"
HEADER = ["# Copyright (c) monai_stcnnt contributors", "# SPDX-License-Identifier: Apache-2.0"]

# What each part may import. A part that is not in the table is refused: its place has to be decided first.
LOWER = {
    "errors", "memory", "tensors", "phase_units", "mri", "transforms", "losses", "metrics", "networks", "checkpoints",
    "data", "inferers",
}  # fmt: skip
MAY_IMPORT: dict[str, set[str]] = {
    "": {"apps", "data"},  # on first use, see tests/test_package.py
    "__main__": {"apps"},
    "errors": set(),
    "memory": set(),
    "tensors": {"errors"},
    "phase_units": {"errors"},
    "mri": {"errors", "phase_units"},
    "transforms": {"errors", "tensors", "phase_units", "mri"},
    "losses": {"errors", "mri"},
    "metrics": {"errors", "mri"},
    "networks": {"errors", "tensors"},
    "checkpoints": {"errors", "networks"},
    "data": {"errors", "tensors", "phase_units", "mri"},
    "inferers": {"errors", "tensors", "mri"},
    "engines": LOWER,
    "handlers": LOWER | {"engines"},
    "apps": LOWER | {"engines", "handlers"},
    "services": LOWER | {"engines", "handlers", "apps"},
}
# Libraries that a part does without.
MAY_NOT_USE: dict[str, set[str]] = {
    "": {"monai", "torch"},
    "errors": {"monai", "torch"},
    "memory": {"monai", "torch"},
    "tensors": {"monai"},
    "phase_units": {"monai", "torch"},
    "mri": {"monai"},
}
MOST_FILES = 15


def modules_of(root: Path) -> dict[str, ast.Module]:
    """Parse the package under ``root``: dotted file name, which ends in ``.__init__`` for a package, to syntax tree."""
    paths = sorted((root / PACKAGE).rglob("*.py"))
    return {
        ".".join(path.relative_to(root).with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8"), str(path))
        for path in paths
    }


def imports_of(name: str, tree: ast.Module) -> Iterator[tuple[str, str | None]]:
    """Yield ``(module, name in it or None)`` for every import in a file, nested ones and ``import_module`` included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = name.split(".")[: -node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
            if function in ("import_module", "__import__", "optional_import"):
                yield str(node.args[0].value), None


def part_of(name: str) -> str:
    """Name the part of the package that a module belongs to; the package itself is the empty name."""
    return [*name.split("."), ""][1]


def edges_of(trees: dict[str, ast.Module]) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Collect who imports whom: pairs of modules of the package, and pairs of a module and a top-level library."""
    names = {name.removesuffix(".__init__") for name in trees}
    inside, outside = set(), set()
    for file_name, tree in trees.items():
        name = file_name.removesuffix(".__init__")
        for module, attribute in imports_of(file_name, tree):
            if module.split(".")[0] != PACKAGE:
                outside.add((name, module.split(".")[0]))
            else:
                inside.add((name, f"{module}.{attribute}" if f"{module}.{attribute}" in names else module))
    return inside, outside


def direction_faults(root: Path) -> list[str]:
    """List every import that goes against the tables above."""
    trees = modules_of(root)
    inside, outside = edges_of(trees)
    names = [name.removesuffix(".__init__") for name in trees]
    faults = [f"{name} has no place in the table" for name in names if part_of(name) not in MAY_IMPORT]
    for name, module in sorted(inside):
        part, other = part_of(name), part_of(module)
        if part != other and other not in MAY_IMPORT.get(part, set()) | (
            {""} if part in ("apps", "services") else set()
        ):
            faults.append(f"{name} imports {module}")
    for name, library in sorted(outside):
        if library in MAY_NOT_USE.get(part_of(name), set()):
            faults.append(f"{name} imports {library}")
    return faults


def two_way_pairs(root: Path) -> list[str]:
    """List pairs of neighbors, at any depth of the tree, that import from each other.

    A module that imports the package it lives in is such a pair too: a package's ``__init__`` imports its modules.
    """
    seen: set[tuple[str, str]] = set()
    faults = []
    for name, module in sorted(edges_of(modules_of(root))[0]):
        here, there = name.split("."), module.split(".")
        same = next(
            (i for i, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), min(len(here), len(there))
        )
        if same < min(len(here), len(there)):
            seen.add((".".join(here[: same + 1]), ".".join(there[: same + 1])))
        elif same == len(there) and same > 1 and len(here) > same:
            faults.append(f"{name} imports its own package {module}")
    return faults + [f"{a} and {b} import each other" for a, b in sorted(seen) if a < b and (b, a) in seen]


def habit_faults(path: Path) -> list[str]:
    """List what one package module lacks or should not have: ``__all__``, a docstring, prints and star imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    faults = [] if ast.get_docstring(tree) else ["no module docstring"]
    targets = [t for node in tree.body if isinstance(node, ast.Assign) for t in node.targets]
    targets += [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    if "__all__" not in {target.id for target in targets if isinstance(target, ast.Name)}:
        faults.append("no __all__")
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            faults.append(f"line {node.lineno}: star import")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            faults.append(f"line {node.lineno}: print")
    return faults


def has_header(path: Path) -> bool:
    """Tell whether a source file starts with the two license lines."""
    return path.read_text(encoding="utf-8").splitlines()[:2] == HEADER


def sources(*folders: str) -> list[Path]:
    """List the repository's Python files below the folders."""
    return [path for folder in folders for path in sorted((REPOSITORY / folder).rglob("*.py"))]


def write_tree(root: Path, files: dict[str, str]) -> None:
    """Write a synthetic package: path below the package to source text."""
    for name in {"__init__.py", *files}:
        path = root / PACKAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files.get(name, ""), encoding="utf-8")


def test_imports_point_one_way() -> None:
    assert direction_faults(REPOSITORY) == []


def test_no_two_parts_import_each_other() -> None:
    assert two_way_pairs(REPOSITORY) == []


@pytest.mark.parametrize("path", sources(PACKAGE), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_module_keeps_the_habits(path: Path) -> None:
    assert habit_faults(path) == []


def test_no_folder_of_the_package_holds_more_than_a_page_of_files() -> None:
    folders = [REPOSITORY / PACKAGE, *(path for path in (REPOSITORY / PACKAGE).rglob("*") if path.is_dir())]
    counts = {
        folder: sum(file.is_file() for file in folder.iterdir()) for folder in folders if folder.name != "__pycache__"
    }
    assert {str(folder): count for folder, count in counts.items() if count > MOST_FILES} == {}


def test_every_source_file_has_the_license_header() -> None:
    paths = sources(PACKAGE, "tests", "benchmarks", "tools", "bundles")
    assert [str(path.relative_to(REPOSITORY)) for path in paths if not has_header(path)] == []


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("mri/fft.py", "import monai.utils", "mri.fft imports monai"),
        ("mri/fft.py", "from monai.transforms import Compose", "mri.fft imports monai"),
        ("errors.py", "import torch", "errors imports torch"),
        ("data/nifti.py", "from monai_stcnnt.transforms import Layout", "data.nifti imports transforms"),
        ("data/nifti.py", "from ..transforms.layout import Layout", "data.nifti imports transforms.layout"),
        ("transforms/__init__.py", "from ..data import x", "transforms imports data"),
        ("transforms/layout.py", "from monai_stcnnt import data", "transforms.layout imports data"),
        ("networks/a.py", "def f():\n    from ..mri import fft", "networks.a imports mri"),
        ("networks/a.py", "importlib.import_module('monai_stcnnt.data')", "networks.a imports data"),
        ("losses/a.py", "if TYPE_CHECKING:\n    import monai_stcnnt.metrics", "losses.a imports metrics"),
        ("inferers/a.py", "import monai_stcnnt.apps.cli", "inferers.a imports apps.cli"),
        ("__init__.py", "from monai_stcnnt import errors", "monai_stcnnt imports errors"),
        ("utils.py", "", "utils has no place in the table"),
    ],
)
def test_wrong_import_is_found(tmp_path: Path, module: str, source: str, fault: str) -> None:
    write_tree(tmp_path, {"errors.py": "", "data/__init__.py": "", "transforms/__init__.py": "", module: source})
    assert [found.replace(f"{PACKAGE}.", "") for found in direction_faults(tmp_path)] == [fault]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("data/nifti.py", "from monai_stcnnt.errors import MissingFileError\nimport monai"),
        ("transforms/noise.py", "from monai_stcnnt.mri.noise import add_noise\nfrom .layout import Layout"),
        ("checkpoints/a.py", "from monai_stcnnt.networks import nets"),
        ("apps/cli.py", "from monai_stcnnt import __version__, data\nfrom monai_stcnnt.transforms import a"),
    ],
)
def test_right_import_is_let_through(tmp_path: Path, module: str, source: str) -> None:
    write_tree(tmp_path, {"data/__init__.py": "", module: source})
    assert direction_faults(tmp_path) == []


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        (
            {"networks/cells.py": "from .layers import x", "networks/layers/x.py": "from ..cells import Cell"},
            "networks.cells and networks.layers import each other",
        ),
        (
            {"data/a.py": "from monai_stcnnt.data.b import f", "data/b.py": "def g():\n    from . import a"},
            "data.a and data.b import each other",
        ),
        (
            {"data/__init__.py": "from .a import f", "data/a.py": "from monai_stcnnt.data import f"},
            "data.a imports its own package data",
        ),
    ],
)
def test_two_way_pair_is_found(tmp_path: Path, files: dict[str, str], fault: str) -> None:
    write_tree(tmp_path, files)
    assert [found.replace(f"{PACKAGE}.", "") for found in two_way_pairs(tmp_path)] == [fault]


def test_package_may_import_its_modules(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {"data/__init__.py": "from monai_stcnnt.data.a import f", "data/a.py": "from .b import f", "data/b.py": ""},
    )
    assert two_way_pairs(tmp_path) == []


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ('"""Doc."""\n__all__ = []\n', []),
        ('"""Doc."""\n__all__: list[str] = []\n', []),
        ('"""Doc."""\n', ["no __all__"]),
        ("__all__ = []\n", ["no module docstring"]),
        ('"""Doc."""\n__all__ = []\nfrom math import *\n', ["line 3: star import"]),
        ('"""Doc."""\n__all__ = []\ndef f():\n    print(1)\n', ["line 4: print"]),
    ],
)
def test_bad_habit_is_found(tmp_path: Path, source: str, faults: list[str]) -> None:
    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")
    assert habit_faults(path) == faults


def test_missing_header_is_found(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text('"""Doc."""\n', encoding="utf-8")
    assert not has_header(path)
    path.write_text("\n".join([*HEADER, '"""Doc."""', ""]), encoding="utf-8")
    assert has_header(path)
