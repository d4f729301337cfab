# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What masks measure: volumes in every frame, stroke volumes and ejection fractions, as a table.

The table is long: one value a row, with the scan, the structure and the quantity it belongs to, so that many scans go
into one file and every program can filter it. Frames count from 1.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_stcnnt.apps.heart_figures import HeartEvidence, HeartFigures, heart_figures
from monai_stcnnt.data import SeriesRecord, write_aside
from monai_stcnnt.data.formats.registry import format_named
from monai_stcnnt.errors import OutputNotWritableError
from monai_stcnnt.metrics import (
    AHA_SEGMENTS,
    MYOCARDIAL_DENSITY,
    VentricularFunction,
    class_areas,
    class_volumes,
    slice_distance,
    ventricular_function,
)

__all__ = [
    "COLUMNS",
    "MaskMeasures",
    "check_table_path",
    "kind_of_structure",
    "measure_masks",
    "write_summary",
    "write_table",
]

COLUMNS = ("scan", "structure", "quantity", "frame", "time_ms", "value", "unit", "note")

ONE_SLICE = (
    "One slice gives no ejection fraction: a ventricle has a volume only in a stack of slices. Areas are given instead."
)
ONE_FRAME = "One frame gives no ejection fraction: it takes the volumes of a whole heart beat."
TWO_FRAMES = (
    "Two frames give no ejection fraction: nothing tells that they are end diastole and end systole. It takes the "
    "volumes of a whole heart beat."
)
DISTANCES = (2.0, 25.0)  # millimeters from slice to slice of short-axis stacks
HEART = 60.0  # millimeters that a stack of thinner slices has to reach
NO_DISTANCE = (
    "The header says that slices lie {distance:.3g} mm apart, which {slices} slices of a heart cannot do: no volumes "
    "and no ejection fraction are given, but areas. Repair the header."
)
GAPS = "No ejection fraction is given, because slices of the left ventricle are missing."

_KINDS = {
    "LV": r"(lv|left ventric\w*)( cavity| blood ?pool)?",
    "RV": r"(rv|right ventric\w*)( cavity| blood ?pool)?",
    "MYO": r"(lv |left ventricular )?(myo|myocardium)|myocardium of left ventricle",
}


@dataclass(frozen=True, eq=False)
class MaskMeasures:
    """What the masks of one scan measure.

    Attributes:
        scan: its name.
        names: the K classes in the order of their values.
        times: ``(T,)`` milliseconds; NaN where the file does not tell.
        slices: number of slices.
        distance: millimeters from slice to slice, from the file's geometry.
        volumes: ``(T, K)`` milliliters; of one slice, what it would hold if it were as thick as ``distance``.
        areas: ``(T, K)`` square centimeters, added up over the slices.
        functions: of each ventricle that has an ejection fraction, by its name.
        notes: sentences about what is missing or odd.
        heart: further figures of a stack with both ventricles' classes; None for anything else.
        has_sense: whether slices of a heart can have that distance.
    """

    scan: str
    names: tuple[str, ...]
    times: np.ndarray
    slices: int
    distance: float
    volumes: np.ndarray
    areas: np.ndarray
    functions: Mapping[str, VentricularFunction]
    notes: tuple[str, ...]
    heart: HeartFigures | None = None
    has_sense: bool = True

    def as_dict(self) -> dict[str, Any]:
        """All of it in JSON's types, with None for what is not known."""
        values = {
            **dataclasses.asdict(self), "times": self.times.tolist(), "volumes": self.volumes.tolist(),
            "areas": self.areas.tolist(),
            "functions": {name: dataclasses.asdict(one) for name, one in self.functions.items()},
        }  # fmt: skip
        return _plain(values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MaskMeasures:
        """Make the measures from what :meth:`as_dict` gave."""
        heart = values.get("heart")
        known = {name: _with_nan(value) for name, value in values.items()}
        known["heart"] = None if heart is None else HeartFigures.from_dict(known["heart"])
        arrays = {name: np.array(known[name], float) for name in ("times", "volumes", "areas")}
        functions = {name: VentricularFunction(**one) for name, one in known["functions"].items()}
        return cls(**{**known, **arrays, "functions": functions, "names": tuple(known["names"]),
                      "notes": tuple(known["notes"])})  # fmt: skip

    @property
    def has_volumes(self) -> bool:
        """Whether there is more than one slice, at distances that a heart's slices can have."""
        return self.slices > 1 and self.has_sense

    @property
    def curves(self) -> np.ndarray:
        """Volumes, or areas where there is only one slice, ``(T, K)``."""
        return self.volumes if self.has_volumes else self.areas

    @property
    def mass(self) -> float | None:
        """Grams of the left ventricular myocardium at the left ventricle's end diastole; None where unknown."""
        kinds = {kind_of_structure(name): name for name in self.names}
        function = self.functions.get(kinds.get("LV", ""))
        if function is None or "MYO" not in kinds:
            return None
        return float(self.volumes[function.end_diastole, self.names.index(kinds["MYO"])] * MYOCARDIAL_DENSITY)

    @property
    def summary(self) -> dict[str, Any]:
        """The function of each ventricle, the mass and the notes in JSON's types."""
        functions = {
            name: {**dataclasses.asdict(one), "ejection_fraction": one.ejection_fraction}
            for name, one in self.functions.items()
        }
        return _plain({"functions": functions, "mass": self.mass, "notes": list(self.notes)})

    @property
    def sentences(self) -> list[str]:
        """The results in words, one ventricle a sentence, and the notes."""
        said = [
            f"{name}: {f.end_diastolic_volume:.0f} ml at frame {f.end_diastole + 1}, {f.end_systolic_volume:.0f} ml at "
            f"frame {f.end_systole + 1}, stroke volume {f.stroke_volume:.0f} ml, "
            f"ejection fraction {f.ejection_fraction:.0f} %."
            for name, f in self.functions.items()
        ]
        return [*said, *self.notes, *(self.heart.sentences if self.heart else [])]


def kind_of_structure(name: str) -> str:
    """Tell the parts of the heart by their names.

    Args:
        name: of a class, such as ``"LV"`` or ``"left ventricle"``.

    Returns:
        ``"LV"`` and ``"RV"`` for the cavities of the ventricles, ``"MYO"`` for the left ventricle's myocardium, empty
        for anything else.
    """
    words = " ".join(re.findall("[a-z0-9]+", name.lower()))
    return next((kind for kind, pattern in _KINDS.items() if re.fullmatch(pattern, words)), "")


def measure_masks(
    labels: SeriesRecord, class_names: Mapping[int, str], scan: str = "", evidence: HeartEvidence | None = None
) -> MaskMeasures:
    """Measure the masks of one scan.

    The volume of a voxel is that of the affine: the distance from slice to slice counts, not their thickness. End
    diastole and end systole are the frames of the largest and smallest volume of each ventricle for itself.

    Args:
        labels: the mask ``(1, T, Z, Y, X)`` with the scan's geometry and times.
        class_names: name of every value but 0.
        scan: what to call the scan; by default the name of its file.
        evidence: what the network knew beside the masks.

    Returns:
        Volumes, areas, and the function of each ventricle where there are slices and frames enough.
    """
    values = sorted(value for value in class_names if value != 0)
    names = tuple(class_names[value] for value in values)
    mask = labels.array[0]
    volumes = class_volumes(mask, labels.affine, values)
    frames, slices = mask.shape[:2]
    ventricles = [n for n, name in enumerate(names) if kind_of_structure(name) in ("LV", "RV")]
    notes = []
    functions = {}
    distance = slice_distance(labels.affine)
    source_format = format_named(labels.metadata.get("file_format"))
    has_geometry = source_format is None or source_format.holds_geometry
    has_sense = not (ventricles and has_geometry) or _can_be_heart(slices, distance)
    if ventricles and slices == 1:
        notes.append(ONE_SLICE)
    elif not has_sense:
        notes.append(NO_DISTANCE.format(distance=distance, slices=slices))
    elif ventricles and frames < 3:
        notes.append(ONE_FRAME if frames == 1 else TWO_FRAMES)
    else:
        for n in ventricles:
            notes += _emptiness(names[n], volumes[:, n])
            if volumes[:, n].max() > 0:
                functions[names[n]] = ventricular_function(volumes[:, n])
    heart = _heart(labels, names, values, volumes, functions, evidence or HeartEvidence()) if has_sense else None
    if heart is not None and any("between others" in flag for flag in heart.flags):
        functions, heart = {}, dataclasses.replace(heart, outputs={}, spread=math.nan)
        notes.append(GAPS)
    if not has_geometry:
        notes.append("A NumPy file has no geometry: volumes and areas are those of voxels of 1 mm.")
    return MaskMeasures(
        scan=scan or Path(str(labels.metadata.get("source", ""))).name,
        names=names,
        times=labels.frame_times,
        slices=slices,
        distance=distance,
        volumes=volumes,
        areas=class_areas(mask, labels.affine, values).sum(axis=1),
        functions=functions,
        notes=tuple(notes),
        heart=heart,
        has_sense=has_sense,
    )


def _can_be_heart(slices: int, distance: float) -> bool:
    """Whether slices of a heart can lie so far apart, as short-axis stacks do, or thinner ones that reach enough."""
    low, high = DISTANCES
    return low <= distance <= high or (distance < low and slices * distance >= HEART)


def _heart(
    labels: SeriesRecord,
    names: Sequence[str],
    values: Sequence[int],
    volumes: np.ndarray,
    functions: Mapping[str, VentricularFunction],
    evidence: HeartEvidence,
) -> HeartFigures | None:
    """Figures of a stack of slices in which the left ventricle and its wall have classes."""
    by_kind = {kind_of_structure(name): n for n, name in enumerate(names)}
    if not {"LV", "MYO"} <= set(by_kind) or labels.array.shape[2] < 2:
        return None
    mask, by_class = np.zeros(labels.array.shape[1:], np.uint8), np.zeros((len(volumes), 4))
    for kind, value in (("RV", 1), ("MYO", 2), ("LV", 3)):
        if kind in by_kind:
            mask[labels.array[0] == values[by_kind[kind]]] = value
            by_class[:, value] = volumes[:, by_kind[kind]]
    rate = labels.metadata.get("heart_rate", math.nan)
    return heart_figures(mask, labels.affine, by_class, functions, rate, evidence)


def check_table_path(path: str | Path) -> Path:
    """Make sure of a table's name, before the work that it is to show.

    Args:
        path: the table to write; ``~`` is the home folder.

    Returns:
        The path.

    Raises:
        OutputNotWritableError: if the name does not end in ``.csv``, or is that of a folder.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() != ".csv" or path.is_dir():
        raise OutputNotWritableError(f"{path} is not a name for a table. Choose a file name that ends in .csv.")
    return path


def write_table(measures: Sequence[MaskMeasures], path: str | Path) -> Path:
    """Write the measures of scans as CSV; the file is complete or absent, and an existing one is replaced.

    Args:
        measures: one for each scan.
        path: file name that ends in ``.csv``; missing folders are made.

    Returns:
        The path.

    Raises:
        OutputNotWritableError: if the name is another, or the place cannot be written to.
    """
    path = check_table_path(path)
    with write_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for one in measures:
            writer.writerows((one.scan, *row) for row in _rows(one))
    return path


def write_summary(measures: Sequence[MaskMeasures], path: str | Path) -> Path:
    """Write one row for each scan as CSV: volumes, ejection fractions and mass, as far as they are known.

    Args:
        measures: one for each scan.
        path: file name that ends in ``.csv``; an existing file is replaced.

    Returns:
        The path.

    Raises:
        OutputNotWritableError: if the name is another, or the place cannot be written to.
    """
    path = check_table_path(path)
    ventricles = list(dict.fromkeys(name for one in measures for name in one.functions))
    figures = {
        "EDV (ml)": lambda f: f.end_diastolic_volume, "ESV (ml)": lambda f: f.end_systolic_volume,
        "SV (ml)": lambda f: f.stroke_volume, "EF (%)": lambda f: f.ejection_fraction,
    }  # fmt: skip
    with write_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        headings = [f"{name} {figure}" for name in ventricles for figure in figures]
        writer.writerow(["scan", *headings, "myocardial mass (g)", "note"])
        for one in measures:
            found = [one.functions.get(name) for name in ventricles]
            values = ["" if f is None else _number(figure(f)) for f in found for figure in figures.values()]
            mass = "" if one.mass is None else _number(one.mass)
            writer.writerow([one.scan, *values, mass, " ".join(one.notes)])
    return path


def _emptiness(name: str, volumes: np.ndarray) -> list[str]:
    """A note about frames in which a ventricle was not found."""
    empty = int(np.count_nonzero(volumes == 0))
    if not empty:
        return []
    where = "all frames" if empty == len(volumes) else f"{empty} of {len(volumes)} frames"
    return [f"The {name} was not found in {where}. Look at the masks before you use the numbers."]


def _rows(measures: MaskMeasures) -> Iterator[tuple[object, ...]]:
    """Rows of one scan, without its name."""
    quantity, unit = ("volume", "ml") if measures.has_volumes else ("area", "cm2")
    note = " ".join(measures.notes)
    yield "", "slice_distance", "", "", _number(measures.distance if measures.has_volumes else math.nan), "mm", note
    for k, name in enumerate(measures.names):
        for frame, (time, value) in enumerate(zip(measures.times, measures.curves[:, k], strict=True), 1):
            yield name, quantity, frame, _number(float(time)), _number(float(value)), unit, ""
    for name, f in measures.functions.items():
        for quantity, place, volume in (
            ("end_diastolic_volume", f.end_diastole, f.end_diastolic_volume),
            ("end_systolic_volume", f.end_systole, f.end_systolic_volume),
        ):
            yield name, quantity, place + 1, _number(float(measures.times[place])), _number(volume), "ml", ""
        yield name, "stroke_volume", "", "", _number(f.stroke_volume), "ml", ""
        yield name, "ejection_fraction", "", "", _number(f.ejection_fraction), "%", ""
    if measures.mass is not None:
        [name] = [name for name in measures.names if kind_of_structure(name) == "MYO"]
        yield name, "end_diastolic_mass", "", "", _number(measures.mass), "g", ""
    if measures.heart is not None:
        yield from _heart_rows(measures.heart)


def _heart_rows(heart: HeartFigures) -> Iterator[tuple[object, ...]]:
    for name, value in heart.outputs.items():
        yield name, "cardiac_output", "", "", _number(value), "l/min", ""
    if math.isfinite(heart.spread):
        yield "left ventricle", "ejection_fraction_spread", "", "", _number(heart.spread), "%", ""
    for segment, value in zip(AHA_SEGMENTS, heart.thickness, strict=False):
        yield "myocardium", "wall_thickness", "", "", _number(value), "mm", segment
    for n, (shown, sure) in enumerate(heart.contoured, 1):
        yield "left ventricle", "contoured", "", "", f"{shown:.0f}", "", f"slice {n}, confidence {sure:.2f}"
    for flag in heart.flags:
        yield "", "flag", "", "", "", "", flag


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """None in the place of numbers that JSON does not have."""
    plain: dict[str, Any] = json.loads(json.dumps(values), parse_constant=lambda _: None)
    return plain


def _with_nan(value: Any) -> Any:  # noqa: ANN401 - JSON
    """NaN in the place of None, at any depth."""
    if isinstance(value, list):
        return [_with_nan(one) for one in value]
    if isinstance(value, dict):
        return {name: _with_nan(one) for name, one in value.items()}
    return math.nan if value is None else value


def _number(value: float) -> str:
    """A number to the third decimal; empty where it is not known."""
    return f"{value:.3f}" if math.isfinite(value) else ""
