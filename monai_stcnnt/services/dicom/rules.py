# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What to do with which series: rules on headers, read from YAML."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from monai_stcnnt.apps.denoising import DenoiseOptions
from monai_stcnnt.apps.segmenting import SegmentOptions
from monai_stcnnt.data.paths import check_exists
from monai_stcnnt.errors import OptionError, UnreadableFileError

__all__ = ["DEFAULT_RULES", "Action", "Rule", "choose_rule", "read_rules"]

Action = Literal["denoise", "segment", "ignore"]

_OPTIONS: dict[Action, frozenset[str]] = {
    "denoise": frozenset({"noise_sigma", "strength", "self_ensemble", "bundle", "device"}),
    "segment": frozenset({"denoise", "architecture", "bundle", "device"}),
    "ignore": frozenset(),
}


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        name: for logs.
        action: what to do.
        match: patterns by DICOM keyword, as of a shell (``*``, ``?``), of which one has to fit; several values of an
            attribute are joined by a backslash. Upper and lower case are the same.
        options: of the action.
    """

    name: str
    action: Action
    match: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def fits(self, header: Dataset) -> bool:
        """Whether every pattern fits."""
        return all(_fits(header.get(keyword), patterns) for keyword, patterns in self.match.items())


DEFAULT_RULES = (
    Rule("derived", "ignore", {"ImageType": ("derived*",)}),
    Rule("MR images", "denoise", {"Modality": ("MR",)}),
)
"""Without a file: every original MR series is denoised, and what others derived is left alone."""


def _fits(value: object, patterns: Sequence[str]) -> bool:
    if value is None:
        return False
    text = "\\".join(map(str, value)) if isinstance(value, (MultiValue, list, tuple)) else str(value)
    return any(fnmatch.fnmatchcase(text.lower(), pattern.lower()) for pattern in patterns)


def choose_rule(rules: Sequence[Rule], header: Dataset) -> Rule | None:
    """The first rule that fits a header; None where none does."""
    return next((rule for rule in rules if rule.fits(header)), None)


def read_rules(path: str | Path) -> tuple[Rule, ...]:
    """Read rules from a YAML file.

    Args:
        path: a file with a list ``rules``, each with ``do`` (denoise, segment, ignore), and perhaps ``name``,
            ``match`` (DICOM keyword: pattern, or a list of patterns) and ``options``.

    Returns:
        The rules in their order; the first that fits counts.

    Raises:
        MissingFileError: if there is no such file.
        UnreadableFileError: if it is no YAML.
        OptionError: if it says something that is not known.
    """
    file = check_exists(path)
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UnreadableFileError(f"{file} is not a YAML file: {type(error).__name__}.") from error
    listed = found.get("rules") if isinstance(found, dict) and set(found) == {"rules"} else None
    if not isinstance(listed, list) or not listed:
        raise OptionError(f"{file} needs one list 'rules' at its top, with an entry for each rule.")
    return tuple(_rule(entry, f"{file}, rule {number}") for number, entry in enumerate(listed, 1))


def _rule(entry: Any, where: str) -> Rule:  # noqa: ANN401 - what YAML holds
    known = {"name", "match", "do", "options"}
    if not isinstance(entry, dict) or entry.get("do") not in get_args(Action) or set(entry) - known:
        raise OptionError(f"{where}: it needs 'do: denoise', 'segment' or 'ignore', and may have {sorted(known)}.")
    action: Action = entry["do"]
    match, options = entry.get("match") or {}, entry.get("options") or {}
    if not isinstance(match, dict) or not isinstance(options, dict):
        raise OptionError(f"{where}: 'match' and 'options' hold names and values.")
    wrong = [name for name in match if not isinstance(name, str) or tag_for_keyword(name) is None]
    if wrong:
        raise OptionError(f"{where}: {wrong[0]!r} is not a DICOM keyword. Write for example SeriesDescription.")
    unknown = sorted(set(options) - _OPTIONS[action])
    if unknown:
        raise OptionError(f"{where}: {action} has no option {unknown[0]!r}, but {sorted(_OPTIONS[action])}.")
    _check(action, options, where)
    patterns = {key: tuple(map(str, v)) if isinstance(v, list) else (str(v),) for key, v in match.items()}
    return Rule(str(entry.get("name", action)), action, patterns, options)


def _check(action: Action, options: Mapping[str, Any], where: str) -> None:
    """Refuse values that the action cannot have, before a series comes."""
    kinds = {"denoise": DenoiseOptions, "segment": SegmentOptions}
    try:
        if action in kinds:
            kinds[action](input=Path(), output=Path(), **options)
    except (TypeError, ValueError) as error:
        raise OptionError(f"{where}: {error}") from error
