# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Philips PAR/REC as nibabel reads it: values, geometry and times; echoes and parts apart; damage is refused."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest
from nibabel.parrec import PARRECArrayProxy, PARRECHeader

from monai_stcnnt import errors
from monai_stcnnt.data import files_of, list_images, list_series, open_series, read_series

__all__: list[str] = []

NAME = "phantom_EPI_asc_CLEAR_2_1"


def copy_of(folder: Path, name: str = NAME) -> Path:
    """Copy an image that comes with nibabel."""
    folder.mkdir(exist_ok=True)
    for extension in (".PAR", ".REC"):
        with as_file(files("nibabel") / "tests" / "data" / f"{name}{extension}") as file:
            if file.is_file():
                shutil.copy(file, folder / file.name)
    return folder / f"{name}.PAR"


def header_of(path: Path) -> PARRECHeader:
    with path.open(encoding="latin-1") as file:
        return PARRECHeader.from_fileobj(file, strict_sort=True)


def values_of(path: Path) -> np.ndarray:
    return np.asarray(PARRECArrayProxy(str(path.with_suffix(".REC")), header_of(path)))


def with_values(folder: Path, name: str, scale: float = 1.0) -> Path:
    """Copy a header that comes with nibabel, and make as many values as it describes, rising over the file."""
    path = copy_of(folder, name)
    header = header_of(path)
    rows, columns = header.get_rec_shape()[:2]
    planes = np.arange(1, len(header.image_defs) + 1)[:, None, None] * scale
    values = np.broadcast_to(planes, (len(header.image_defs), rows, columns)) + np.arange(columns)
    values.astype("<u2").tofile(path.with_suffix(".REC"))
    return path


@pytest.mark.parametrize("name", [NAME, "phantom_varscale"])
def test_values_geometry_and_times_are_nibabels(tmp_path: Path, name: str) -> None:
    path = copy_of(tmp_path, name)
    record, header = read_series(path), header_of(path)
    np.testing.assert_allclose(record.to_spatial(), values_of(path), rtol=1e-6)
    np.testing.assert_allclose(record.affine, header.get_affine())
    np.testing.assert_allclose(record.frame_times, [0, 2000, 4000])
    [summary] = list_images(path)
    assert (summary.shape, summary.kind, summary.files) == ((64, 64, 9, 3), "magnitude", 2)
    assert list_images(path, check=False) == [replace(summary, refused="")]
    with open_series(path) as slabs:
        np.testing.assert_array_equal(slabs.read(slice(1, 2), slice(0, 4)), record.array[:, 1:2, :4])


def test_both_files_belong_to_an_image(tmp_path: Path) -> None:
    path = copy_of(tmp_path)
    assert list_series(tmp_path) == [path]
    path.with_suffix(".REC").rename(path.with_suffix(".rec"))
    assert files_of(path) == [path, path.with_suffix(".rec")]
    assert read_series(path).array.shape == (1, 3, 9, 64, 64)


def test_echoes_are_images_of_their_own(tmp_path: Path) -> None:
    path = with_values(tmp_path, "ASL_3D_Multiecho")
    found = list_images(path)
    assert [s.series for s in found] == [f"e{echo}-{label}" for echo in (1, 2, 3) for label in (1, 2)]
    assert all(s.shape == (80, 80, 8, 2) and not s.refused for s in found)
    labels = header_of(path).get_volume_labels()
    volumes = (labels["echo number"] == 2) & (labels["label type"] == 1)
    np.testing.assert_allclose(read_series(path, series="e2-1").to_spatial(), values_of(path)[..., volumes], rtol=1e-6)
    with pytest.raises(errors.SeriesSelectionError, match="e3-2"):
        read_series(path)
    with pytest.raises(errors.SeriesSelectionError, match="no series 'e4'"):
        read_series(path, series="e4")


def test_parts_of_a_complex_image(tmp_path: Path) -> None:
    path = with_values(tmp_path, "T1_3echo_mag_real_imag_phase", 0.01)
    kinds = {s.series: s.kind for s in list_images(path)}
    assert kinds["e1-magnitude"] == "magnitude"
    assert kinds["e3-phase"] == "phase"
    assert len(kinds) == 12
    record = read_series(path, series="e1-real+e1-imaginary")
    assert record.kind == "complex"
    with pytest.raises(errors.NotAnImageError, match="phase image alone"):
        read_series(path, series="e1-phase")


def test_a_field_map_is_no_phase(tmp_path: Path) -> None:
    found = list_images(with_values(tmp_path, "fieldmap", 0.1))
    assert [(s.kind, bool(s.refused)) for s in found] == [("magnitude", False), ("derived", True)]


def test_damage_is_refused(tmp_path: Path) -> None:
    path = copy_of(tmp_path)
    values = path.with_suffix(".REC")
    whole = values.read_bytes()
    for damaged in (whole[:-2], whole + bytes(64 * 64 * 2)):
        values.write_bytes(damaged)
        with pytest.raises(errors.UnreadableFileError, match="planes of 8192"):
            read_series(path)
    values.unlink()
    with pytest.raises(errors.MissingFileError, match="holds the values"):
        read_series(path)
    with pytest.raises(errors.UnreadableFileError, match="dynamic scan"):
        read_series(copy_of(tmp_path / "truncated", "phantom_truncated"))


def test_whatever_is_in_a_header_the_error_is_named(tmp_path: Path) -> None:
    path = copy_of(tmp_path)
    text = path.read_text(encoding="latin-1")
    numbers = [match.span() for match in re.finditer(r"-?\d+\.?\d*", text)]
    generator = np.random.default_rng(0)
    refused, causes = [], []
    for _ in range(150):
        begin, end = numbers[generator.integers(len(numbers))]
        other = str(generator.choice(["-1", "0", "99999999", "nan", "1e39", "x", ""]))
        path.write_text(text[:begin] + other + text[end:], encoding="latin-1")
        try:
            read_series(path)
        except errors.StcnntError as error:
            refused.append(str(error))
            causes.append(error.__cause__)  # which would quote the header
    assert len(refused) > 20
    assert not any(causes)
    assert all("PAR" in message or "REC" in message for message in refused)
