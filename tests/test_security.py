# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""No file that is read can run code: the source is searched for every way in which one could."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__: list[str] = []

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDERS = ("monai_stcnnt", "benchmarks", "bundles")  # bundles have no code of their own, and may not
CONFIGS = sorted((REPOSITORY / "bundles").glob("*/configs/*.json"))

# Functions that run code of what they are given, or load it from a file.
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "pickle.Unpickler", "dill.load",
    "joblib.load", "shelve.open", "marshal.load", "marshal.loads", "os.system", "os.popen", "yaml.load",
    "yaml.full_load", "yaml.unsafe_load", "tarfile.open", "shutil.unpack_archive", "torch.jit.load",
}  # fmt: skip
TRUSTED = {
    ("monai_stcnnt/checkpoints/snraware.py", "torch.jit.load"),
    ("monai_stcnnt/checkpoints/exports.py", "torch.jit.load"),
}
"""TorchScript of published checkpoints, which only ``trust=True`` (``--trust``) opens, and what an export wrote."""


def calls(source: str) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keyword(node: ast.Call, name: str) -> str:
    return next((ast.unparse(k.value) for k in node.keywords if k.arg == name), "")


def findings(source: str) -> list[str]:
    """What could run code of a file, in one source text."""
    found = []
    for name, node in calls(source):
        if name in FORBIDDEN or name.endswith(".extractall"):
            found.append(name)
        elif name == "torch.load" and keyword(node, "weights_only") != "True":
            found.append("torch.load without weights_only=True")
        elif name in ("np.load", "numpy.load") and keyword(node, "allow_pickle") != "False":
            found.append("numpy.load without allow_pickle=False")
        elif keyword(node, "shell") == "True":
            found.append(f"{name}(shell=True)")
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_that_is_read_can_run_code(folder: str) -> None:
    files = sorted((REPOSITORY / folder).rglob("*.py"))
    assert files or folder == "bundles"
    found = {
        (file.relative_to(REPOSITORY).as_posix(), what)
        for file in files
        for what in findings(file.read_text(encoding="utf-8"))
    }
    assert found - TRUSTED == set()


UNSAFE = (
    "torch.load(path)", "torch.load(path, weights_only=False)", "np.load(path)", "np.load(path, allow_pickle=True)",
    "pickle.load(file)", "eval(text)", "subprocess.run(text, shell=True)", "yaml.load(text)", "archive.extractall(to)",
    "torch.jit.load(path)",
)  # fmt: skip
SAFE = (
    "torch.load(path, weights_only=True)",
    "np.load(path, allow_pickle=False)",
    "net.eval()",
    "yaml.safe_load(text)",
)


@pytest.mark.parametrize("source", UNSAFE)
def test_the_search_finds_what_it_should(source: str) -> None:
    assert len(findings(source)) == 1


@pytest.mark.parametrize("source", SAFE)
def test_the_search_lets_safe_calls_pass(source: str) -> None:
    assert findings(source) == []


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: f"{file.parts[-3]}/{file.name}")
def test_bundles_load_tensors_only(file: Path) -> None:
    """Configs are code and are read by people; whatever they load from files is not."""
    text = json.dumps(json.loads(file.read_text(encoding="utf-8")))
    assert not re.search(r"weights_only\W{1,6}(false|False|None|null)|allow_pickle\W{1,6}[tT]rue", text)
    assert not re.search(r"pickle\.|\beval\(|\bexec\(", text)
    for call in re.findall(r"torch\.load\([^$]*", text):
        assert "weights_only=True" in call
