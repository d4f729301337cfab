# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""An option has one name and one default, on the command line, in Python, in the engines and in the bundles."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from monai_stcnnt.apps.bundles import bundle_folder
from monai_stcnnt.apps.cli.denoise import denoise as denoise_command
from monai_stcnnt.apps.cli.info import info as info_command
from monai_stcnnt.apps.cli.noise import noise as noise_command
from monai_stcnnt.apps.cli.segment import segment as segment_command
from monai_stcnnt.apps.denoising import DenoiseOptions
from monai_stcnnt.apps.info import describe
from monai_stcnnt.apps.noise import find_noise
from monai_stcnnt.apps.segmenting import SegmentOptions
from monai_stcnnt.engines.streamed_denoising import StreamedDenoiser, denoise_series
from monai_stcnnt.services.commands import mrd as mrd_command
from monai_stcnnt.services.engine import DenoiserOptions

__all__: list[str] = []

OUTPUT = {"json", "quiet", "verbose"}
"""What a command says, which is no option of the work."""
SPELLED = {"nifti": "output_format", "seg_per_frame": "output_format"}
"""Flags for one choice of an option."""
UNSPOKEN = {"progress"}
"""What a command tells by --quiet."""
OF_ITS_OWN = {
    "memory": "bytes of a series, or megabytes of a connection",
    "stack": "volumes take all slices, denoising does not",
}
"""Options whose default depends on what is done, and why."""
NOT_SET = inspect.Parameter.empty


def defaults_of(function: Callable[..., object]) -> dict[str, Any]:
    """Default of every parameter of a function."""
    parameters = inspect.signature(function).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not NOT_SET}


def fields_of(options: type) -> dict[str, Any]:
    """Default of every field of a dataclass."""
    return {one.name: one.default for one in dataclasses.fields(options) if one.default is not dataclasses.MISSING}


def differences(places: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Options that have another default in another place; None stands for whatever the place below it chooses."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for place, defaults in places.items():
        for name, value in defaults.items():
            if name not in {*OUTPUT, *SPELLED, *OF_ITS_OWN} and value is not None:
                found[name][place] = list(value) if isinstance(value, tuple) else value
    return {name: values for name, values in found.items() if len({json.dumps(v) for v in values.values()}) > 1}


def test_a_command_has_the_options_of_its_work() -> None:
    for command, options in ((denoise_command, DenoiseOptions), (segment_command, SegmentOptions)):
        given = {SPELLED.get(name, name) for name in inspect.signature(command).parameters} - OUTPUT
        assert given == {one.name for one in dataclasses.fields(options)} - UNSPOKEN, command.__name__


def test_an_option_has_one_default_everywhere() -> None:
    config = json.loads((bundle_folder("mri_denoising") / "configs" / "inference.json").read_text())
    names = fields_of(DenoiseOptions)
    told = names.keys() - {"device"}  # an engine is given PyTorch's own
    places = {
        "stcnnt denoise": defaults_of(denoise_command),
        "DenoiseOptions": names,
        "stcnnt segment": defaults_of(segment_command),
        "SegmentOptions": fields_of(SegmentOptions),
        "stcnnt noise": defaults_of(noise_command),
        "find_noise": defaults_of(find_noise),
        "stcnnt info": defaults_of(info_command),
        "describe": defaults_of(describe),
        "stcnnt serve mrd": {name: value for name, value in defaults_of(mrd_command).items() if name in names},
        "DenoiserOptions": fields_of(DenoiserOptions),
        "StreamedDenoiser": {name: v for name, v in defaults_of(StreamedDenoiser.__init__).items() if name in names},
        "denoise_series": {name: value for name, value in defaults_of(denoise_series).items() if name in told},
        "inference.json": {name: config[name] for name in names if not str(config.get(name, "$")).startswith("$")},
    }
    assert differences(places) == {}


def test_another_default_is_found() -> None:
    assert differences({"a": {"qc": False}, "b": {"qc": True}, "c": {"qc": None}}) == {"qc": {"a": False, "b": True}}
