# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The public names: those that a release promises, so that none comes, goes or moves unnoticed.

``api_surface.txt`` lists what the packages export. Whoever changes the list changes what users see, and says so in the
changelog.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

from monai.bundle.config_item import ComponentLocator

import monai_stcnnt

__all__: list[str] = []

LISTED = Path(__file__).with_name("api_surface.txt")


def modules() -> list[ModuleType]:
    """Import every module of the package."""
    found = pkgutil.walk_packages(monai_stcnnt.__path__, f"{monai_stcnnt.__name__}.")
    return [monai_stcnnt, *(importlib.import_module(module.name) for module in found)]


def is_exported(module: ModuleType) -> bool:
    """Tell whether a module's names are promised: it is a package, or the errors."""
    return hasattr(module, "__path__") or module.__name__ == "monai_stcnnt.errors"


def test_exported_names_are_the_listed_ones() -> None:
    exporting = [module for module in modules() if is_exported(module)]
    names = {f"{module.__name__}.{name}" for module in exporting for name in module.__all__}
    listed = set(LISTED.read_text(encoding="utf-8").split())
    assert sorted(names - listed) == [], "new names: list them in tests/api_surface.txt and in the changelog"
    assert sorted(listed - names) == [], "names that are gone: users of them need a way over"


def test_every_promised_name_exists_once() -> None:
    for module in modules():
        missing = [name for name in module.__all__ if not hasattr(module, name)]
        assert missing == [], module.__name__
        assert len(set(module.__all__)) == len(module.__all__), module.__name__


def test_no_class_has_the_name_of_a_monai_class() -> None:
    """MONAI looks for a bare ``_target_`` in all modules whose name starts with "monai", ours included."""
    monai_names = ComponentLocator(excludes=["monai_stcnnt"])
    assert monai_names.get_component_module_name("SlidingWindowInferer") == "monai.inferers.inferer"
    own = {
        f"{module.__name__}.{name}": monai_names.get_component_module_name(name)
        for module in modules()
        for name, member in inspect.getmembers(module, inspect.isclass)
        if member.__module__ == module.__name__
    }
    assert {name: taken for name, taken in own.items() if taken is not None} == {}
