# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Laws of NIfTI in and out: values, axes, geometry, units and times survive, and a file is complete or absent."""

from __future__ import annotations

import dataclasses
import gzip
import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.openers import ImageOpener

from monai_stcnnt.data.formats.base import OutputDtype
from monai_stcnnt.data.formats.nifti import read_nifti
from monai_stcnnt.data.formats.nifti_writer import write_nifti
from monai_stcnnt.data.record import SeriesRecord
from monai_stcnnt.errors import (
    EmptyImageError,
    GeometryError,
    MissingFileError,
    NotAnImageError,
    OutputNotWritableError,
    StcnntError,
    UnreadableFileError,
)

__all__: list[str] = []

NIBABEL = Path(next(iter(importlib.util.find_spec("nibabel").submodule_search_locations))) / "tests" / "data"  # type: ignore[union-attr, arg-type]
NIBABEL_FILES = [
    "anatomical.nii",
    "example4d.nii.gz",
    "example_nifti2.nii.gz",
    "functional.nii",
    "reoriented_anat_moved.nii",
    "standard.nii.gz",
]
# What a written file may say otherwise: how voxels are stored.
STORAGE = {"datatype", "bitpix", "vox_offset", "scl_slope", "scl_inter"}


def values_of(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    """Values that all differ."""
    values = np.arange(np.prod(shape)).reshape(shape)
    return (values - 2j * values).astype(dtype) if "complex" in dtype else values.astype(dtype)


def same_header(first: nib.Nifti1Header, second: nib.Nifti1Header) -> list[str]:
    """Names of the fields that differ, storage apart."""
    return [
        name
        for name in first
        if name not in STORAGE
        and not np.array_equal(first[name], second[name], equal_nan=first[name].dtype.kind == "f")
    ]


def round_trip(path: Path, out: Path) -> None:
    """Assert that a file, read and written, has the same values, header and geometry."""
    record = read_nifti(path)
    write_nifti(record, out)
    before, after = nib.load(path), nib.load(out)
    assert isinstance(before, nib.Nifti1Image)
    assert isinstance(after, nib.Nifti1Image)
    expected = np.asarray(before.dataobj)
    np.testing.assert_array_equal(
        np.asarray(after.dataobj), expected.astype("complex64" if np.iscomplexobj(expected) else "float32")
    )
    assert after.shape == before.shape
    np.testing.assert_array_equal(after.affine, before.affine)
    assert same_header(before.header, after.header) == []
    again = read_nifti(out)
    np.testing.assert_array_equal(again.array, record.array)
    np.testing.assert_array_equal(again.frame_times, record.frame_times)
    np.testing.assert_array_equal(again.affine, record.affine)


@pytest.mark.parametrize("name", NIBABEL_FILES)
def test_round_trip_of_real_files(name: str, tmp_path: Path) -> None:
    round_trip(NIBABEL / name, tmp_path / "out.nii.gz")


def test_round_trip_of_all_sample_scans(shared_data: Path, tmp_path: Path) -> None:
    files = sorted(shared_data.rglob("*.nii.gz"))
    assert files
    for number, path in enumerate(files):
        round_trip(path, tmp_path / f"{number}.nii")
        (tmp_path / f"{number}.nii").unlink()


@pytest.mark.parametrize(
    "shape", [(6, 5), (6, 5, 4), (6, 5, 4, 3), (6, 5, 1), (6, 5, 1, 3), (6, 5, 4, 1), (6, 5, 4, 3, 1)]
)
@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64", "complex64", "complex128"]
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_round_trip_of_every_shape_and_type(
    make_nifti: Callable[..., Path],
    tmp_path: Path,
    shape: tuple[int, ...],
    dtype: str,
    suffix: str,
) -> None:
    round_trip(make_nifti(f"in{suffix}", values_of(shape, dtype)), tmp_path / f"out{suffix}")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (0, 2), (2, 4), (0, 0)])
def test_round_trip_of_versions_and_codes(
    make_nifti: Callable[..., Path], tmp_path: Path, version: int, codes: tuple[int, int]
) -> None:
    path = make_nifti("in.nii", values_of((6, 5, 4, 3)), version=version, codes=codes, descrip=b"a scan", cal_max=9)
    round_trip(path, tmp_path / "out.nii")


def test_big_endian_is_read(make_nifti: Callable[..., Path], tmp_path: Path) -> None:
    native = nib.load(make_nifti("native.nii", values_of((6, 5, 4, 3), "int16")))
    assert isinstance(native, nib.Nifti1Image)
    swapped = nib.Nifti1Image(np.asarray(native.dataobj), native.affine, native.header.as_byteswapped(">"))
    nib.save(swapped, tmp_path / "swapped.nii")
    round_trip(tmp_path / "swapped.nii", tmp_path / "out.nii")


def test_axes_of_the_record(make_nifti: Callable[..., Path]) -> None:
    values = values_of((6, 5, 4, 3))
    record = read_nifti(make_nifti("in.nii", values))
    assert record.array.shape == (1, 3, 4, 5, 6)
    assert record.array.dtype == np.float32
    assert record.array[0, 2, 3, 1, 5] == values[5, 1, 3, 2]
    assert record.kind == "magnitude"
    assert record.metadata["file_shape"] == (6, 5, 4, 3)
    np.testing.assert_allclose(record.spacing, [np.hypot(1.4, 0.05), 1.5, np.hypot(8, 0.1)], rtol=1e-6)


@pytest.mark.parametrize("shape", [(6, 5, 4, 3), (6, 5, 4), (6, 5)])
def test_complex_is_real_and_imaginary_channel(make_nifti: Callable[..., Path], shape: tuple[int, ...]) -> None:
    values = values_of(shape, "complex64")
    record = read_nifti(make_nifti("in.nii", values))
    assert record.kind == record.metadata["kind"] == "complex"
    assert record.array[0, -1, -1, 1, 5] == values[(5, 1, -1, -1)[: len(shape)]].real
    assert record.array[1, -1, -1, 1, 5] == values[(5, 1, -1, -1)[: len(shape)]].imag
    np.testing.assert_array_equal(record.to_spatial(), values)


@pytest.mark.parametrize("shape", [(6, 5, 4, 3, 2), (6, 5, 1, 1, 2)])
def test_fifth_axis_of_two_is_real_and_imaginary(
    make_nifti: Callable[..., Path], tmp_path: Path, shape: tuple[int, ...]
) -> None:
    values = values_of(shape)
    path = make_nifti("in.nii", values)
    record = read_nifti(path)
    assert record.kind == "complex"
    np.testing.assert_array_equal(record.to_spatial(), values[..., 0] + 1j * values[..., 1])
    round_trip(path, tmp_path / "out.nii")


@pytest.mark.parametrize(
    ("unit", "frame_time", "milliseconds"),
    [("sec", 0.04, 40.0), ("msec", 40, 40.0), ("usec", 40000, 40.0), ("unknown", 0.04, 40.0)],
)
def test_frame_times_are_milliseconds(
    make_nifti: Callable[..., Path], unit: str, frame_time: float, milliseconds: float
) -> None:
    path = make_nifti("in.nii", values_of((6, 5, 4, 3)), units=("mm", unit), frame_time=frame_time)
    record = read_nifti(path)
    np.testing.assert_allclose(record.frame_times, milliseconds * np.arange(3), rtol=1e-6)
    assert record.frame_time == pytest.approx(milliseconds)
    assert record.metadata["units"] == ("mm", unit)


def test_start_time_is_kept(make_nifti: Callable[..., Path]) -> None:
    record = read_nifti(make_nifti("in.nii", values_of((6, 5, 4, 3)), toffset=0.5))
    np.testing.assert_allclose(record.frame_times, [500, 540, 580], rtol=1e-6)


def test_unknown_unit_of_time_is_logged(make_nifti: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "monai_stcnnt"):
        read_nifti(make_nifti("in.nii", values_of((6, 5, 4, 3)), units=("mm", "unknown")))
    assert "taken for seconds" in caplog.text


@pytest.mark.parametrize("frame_time", [0.0, -1.0, float("nan")])
def test_unknown_frame_time_is_nan(make_nifti: Callable[..., Path], tmp_path: Path, frame_time: float) -> None:
    path = make_nifti("in.nii", values_of((6, 5, 4, 3)), frame_time=frame_time)
    assert np.isnan(read_nifti(path).frame_times).all()
    round_trip(path, tmp_path / "out.nii")


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000), ("mm", 1), ("micron", 0.001), ("unknown", 1)])
def test_affine_is_in_millimeters(make_nifti: Callable[..., Path], tmp_path: Path, unit: str, factor: float) -> None:
    path = make_nifti("in.nii", values_of((6, 5, 4, 3)), units=(unit, "sec"))
    expected = nib.load(path).affine * np.array([[factor]] * 3 + [[1]])  # type: ignore[attr-defined]
    np.testing.assert_allclose(read_nifti(path).affine, expected)
    round_trip(path, tmp_path / "out.nii")


def test_slope_is_applied(make_nifti: Callable[..., Path], tmp_path: Path) -> None:
    path = make_nifti("in.nii", values_of((6, 5, 4), "int16"), slope=(0.5, 10))
    np.testing.assert_array_equal(read_nifti(path).to_spatial(), values_of((6, 5, 4)) * 0.5 + 10)
    scaled = nib.load(make_nifti("scaled.nii", values_of((6, 5, 4), "float64") / 7))
    assert isinstance(scaled, nib.Nifti1Image)
    scaled.header.set_data_dtype("int16")
    nib.save(scaled, tmp_path / "int.nii")
    assert not np.isclose(nib.load(tmp_path / "int.nii").dataobj.slope, 1)  # type: ignore[attr-defined]
    round_trip(tmp_path / "int.nii", tmp_path / "out.nii")


def test_flat_axis_without_spacing_gets_one_millimeter(make_nifti: Callable[..., Path], tmp_path: Path) -> None:
    path = make_nifti("in.nii", values_of((6, 5)), codes=(0, 0), pixdim=[1, 2, 3, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(read_nifti(path).spacing, [2, 3, 1])
    round_trip(path, tmp_path / "out.nii")


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint16", "uint8"])
def test_output_types_hold_whole_numbers_exactly(
    make_nifti: Callable[..., Path], tmp_path: Path, dtype: OutputDtype
) -> None:
    record = read_nifti(make_nifti("in.nii", values_of((6, 5, 4))))
    out = nib.load(write_nifti(record, tmp_path / "out.nii.gz", dtype=dtype))
    assert isinstance(out, nib.Nifti1Image)
    assert out.get_data_dtype() == dtype
    np.testing.assert_array_equal(np.asarray(out.dataobj), values_of((6, 5, 4)))


def test_integers_scale_fractions_within_half_a_step(make_nifti: Callable[..., Path], tmp_path: Path) -> None:
    record = read_nifti(make_nifti("in.nii", values_of((6, 5, 4)) / 7))
    out = nib.load(write_nifti(record, tmp_path / "out.nii", dtype="int16"))
    assert isinstance(out, nib.Nifti1Image)
    assert out.get_data_dtype() == np.int16
    step = float(out.dataobj.slope)  # type: ignore[attr-defined]
    assert np.abs(np.asarray(out.dataobj) - record.to_spatial()).max() <= 0.51 * step


@pytest.mark.parametrize(("dtype", "on_disk"), [("float32", "complex64"), ("float64", "complex128")])
def test_output_type_of_a_complex_image(
    make_nifti: Callable[..., Path], tmp_path: Path, dtype: OutputDtype, on_disk: str
) -> None:
    record = read_nifti(make_nifti("in.nii", values_of((6, 5, 4), "complex64")))
    out = nib.load(write_nifti(record, tmp_path / "out.nii", dtype=dtype))
    assert isinstance(out, nib.Nifti1Image)
    assert out.get_data_dtype() == on_disk
    with pytest.raises(OutputNotWritableError, match="int16"):
        write_nifti(record, tmp_path / "no.nii", dtype="int16")


def test_changed_geometry_and_times_are_written(make_nifti: Callable[..., Path], tmp_path: Path) -> None:
    record = read_nifti(
        make_nifti("in.nii", values_of((6, 5, 4, 3)), units=("mm", "msec"), frame_time=40, codes=(2, 4))
    )
    affine = record.affine @ np.diag([2, 2, 1, 1.0])
    changed = dataclasses.replace(record, affine=affine, frame_times=record.frame_times * 2 + 5)
    path = write_nifti(changed, tmp_path / "out.nii")
    again = read_nifti(path)
    np.testing.assert_allclose(again.affine, affine, atol=1e-5)
    np.testing.assert_allclose(again.frame_times, [5, 85, 165])
    image = nib.load(path)
    assert isinstance(image, nib.Nifti1Image)
    header = image.header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (2, 4)


def test_record_without_a_header_is_written(tmp_path: Path) -> None:
    record = SeriesRecord(np.arange(24).reshape(1, 2, 1, 3, 4), np.diag([2, 2, 5, 1]), [0, 33], {})  # type: ignore[arg-type]
    again = read_nifti(write_nifti(record, tmp_path / "out.nii.gz"))
    np.testing.assert_array_equal(again.array, record.array)
    np.testing.assert_allclose(again.affine, record.affine)
    np.testing.assert_allclose(again.frame_times, record.frame_times)
    assert again.metadata["file_shape"] == (4, 3, 1, 2)
    assert again.metadata["units"] == ("mm", "sec")


def test_unknown_frame_times_of_a_new_file_stay_unknown(tmp_path: Path) -> None:
    record = SeriesRecord(np.ones((1, 4, 2, 3, 5), np.float32), np.eye(4), np.full(4, np.nan))
    again = read_nifti(write_nifti(record, tmp_path / "out.nii"))
    assert np.isnan(again.frame_times).all()


def test_magnitude_of_a_complex_file_is_real(make_nifti: Callable[..., Path], tmp_path: Path) -> None:
    record = read_nifti(make_nifti("in.nii", values_of((6, 5, 4, 3), "complex64")))
    magnitude = record.with_array(np.hypot(*record.array)[None])
    again = read_nifti(write_nifti(magnitude, tmp_path / "out.nii"))
    assert again.kind == "magnitude"
    np.testing.assert_array_equal(again.array, magnitude.array)


def rgb() -> np.ndarray:
    """Color image as NIfTI stores it."""
    return np.zeros((6, 5, 4), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))


@pytest.mark.parametrize(
    ("values", "options", "error", "message"),
    [
        (rgb(), {}, NotAnImageError, "color"),
        (np.ones((6,), np.float32), {}, NotAnImageError, "2 to 4 axes"),
        (np.ones((6, 5, 4, 3, 3), np.float32), {}, NotAnImageError, "2 to 4 axes"),
        (np.ones((6, 5, 4, 3, 2), np.complex64), {}, NotAnImageError, "2 to 4 axes"),
        (np.ones((6, 5, 4, 1, 2), np.float32), {"intent_code": 1007}, NotAnImageError, "vectors"),
        (np.ones((6, 5, 4, 3), np.float32), {"units": ("mm", "hz")}, NotAnImageError, "hz"),
        (np.ones((0, 5, 4), np.float32), {}, EmptyImageError, "no voxels"),
        (np.ones((6, 5, 4), np.float32), {"codes": (0, 2), "srow_x": np.zeros(4)}, GeometryError, "affine"),
        (np.ones((6, 5, 4), np.float32), {"codes": (0, 2), "srow_y": [1e30, 1, 2, 3]}, GeometryError, "impossible"),
        (np.ones((6, 5, 4), np.float32), {"codes": (0, 2), "srow_y": [1, 1, 2, 7e10]}, GeometryError, "far away"),
        (np.ones((6, 5, 4), np.float32), {"codes": (0, 2), "srow_x": np.full(4, np.nan)}, GeometryError, "affine"),
    ],
)
def test_other_contents_are_refused(
    make_nifti: Callable[..., Path],
    values: np.ndarray,
    options: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    path = make_nifti("in.nii", values, **options)
    with pytest.raises(error, match=message) as caught:
        read_nifti(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("keep", [0, 10, 348, 352, 400, -1])
def test_truncated_files_are_refused(make_nifti: Callable[..., Path], suffix: str, keep: int) -> None:
    path = make_nifti(f"in{suffix}", np.random.default_rng(0).normal(size=(16, 15, 4)).astype(np.float32))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UnreadableFileError, match=r"in\.nii"):
        read_nifti(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"dim": [3, 6, 5, 3, 1, 1, 1, 1]}, UnreadableFileError, "120 bytes more"),
        ({"qform_code": 57}, GeometryError, "unknown codes"),
        ({"sform_code": -1}, GeometryError, "unknown codes"),
    ],
)
def test_damaged_geometry_is_refused(
    make_nifti: Callable[..., Path], suffix: str, version: int, change: dict[str, Any], error: type[Exception],
    message: str,
) -> None:  # fmt: skip
    path = make_nifti(f"in{suffix}", np.ones((6, 5, 4), np.float32), version=version)
    with ImageOpener(str(path)) as file:
        content = file.read()
    header_class = nib.Nifti1Header if version == 1 else nib.Nifti2Header
    header = header_class(content[: header_class.sizeof_hdr])
    for name, value in change.items():
        header[name] = value
    with ImageOpener(str(path), "wb") as file:
        file.write(header.binaryblock + content[header_class.sizeof_hdr :])
    with pytest.raises(error, match=message):
        read_nifti(path)


def test_damaged_gzip_is_refused(make_nifti: Callable[..., Path]) -> None:
    path = make_nifti("in.nii.gz", np.random.default_rng(0).normal(size=(16, 15, 4)).astype(np.float32))
    content = path.read_bytes()
    accepted = []
    for position in range(100, len(content), 97):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :])
        try:
            accepted.append(read_nifti(path))
        except StcnntError:
            continue
    assert accepted == []


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x1f\x8b" + b"\0" * 500, b"\xff" * 600])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_garbage_is_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"in{suffix}"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError):
        read_nifti(path)


def test_huge_dimensions_do_not_fill_the_memory(make_nifti: Callable[..., Path]) -> None:
    path = make_nifti("in.nii.gz", values_of((6, 5, 4, 3)))
    image = nib.load(path)
    assert isinstance(image, nib.Nifti1Image)
    image.header["dim"] = [4, 32000, 32000, 32000, 32000, 1, 1, 1]
    with gzip.open(path, "wb") as file:
        file.write(image.header.binaryblock + b"\0" * 4 + values_of((6, 5, 4, 3)).tobytes())
    with pytest.raises(UnreadableFileError, match="too short"):
        read_nifti(path)


def test_mutated_headers_give_an_image_or_a_named_error(make_nifti: Callable[..., Path], tmp_path: Path) -> None:
    original = make_nifti("in.nii", values_of((6, 5, 4, 3), "int16")).read_bytes()
    generator = np.random.default_rng(0)
    outcomes: set[type] = set()
    path = tmp_path / "mutated.nii"
    for _ in range(300):
        data = bytearray(original)
        for position in generator.integers(0, 352, size=3):
            data[position] = generator.integers(0, 256)
        path.write_bytes(bytes(data))
        try:
            outcomes.add(type(read_nifti(path)))
        except StcnntError as error:
            outcomes.add(type(error))
    assert SeriesRecord in outcomes
    assert UnreadableFileError in outcomes


def test_missing_file() -> None:
    with pytest.raises(MissingFileError, match=r"no/such\.nii"):
        read_nifti("no/such.nii")


def test_failed_write_leaves_nothing(
    make_nifti: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = read_nifti(make_nifti("in/in.nii", values_of((6, 5, 4))))

    def half_a_file(_: object, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nib, "save", half_a_file)
    with pytest.raises(OutputNotWritableError, match="No space left"):
        write_nifti(record, tmp_path / "out" / "out.nii")
    assert list((tmp_path / "out").iterdir()) == []


def test_existing_file_is_replaced_only_when_complete(make_nifti: Callable[..., Path], tmp_path: Path) -> None:
    record = read_nifti(make_nifti("in.nii", values_of((6, 5, 4))))
    out = write_nifti(record, tmp_path / "out.nii")
    before = out.read_bytes()
    write_nifti(record.with_array(record.array + 1), out)
    assert out.read_bytes() != before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.nii", "out.nii"]


@pytest.mark.parametrize("name", ["out.txt", "out", "out.nii.zip"])
def test_other_output_names_are_refused(make_nifti: Callable[..., Path], tmp_path: Path, name: str) -> None:
    record = read_nifti(make_nifti("in.nii", values_of((6, 5, 4))))
    with pytest.raises(OutputNotWritableError, match=r"\.nii"):
        write_nifti(record, tmp_path / name)


def test_negative_sizes_are_no_voxels(make_nifti: Callable[..., Path]) -> None:
    path = make_nifti("a.nii", np.ones((6, 5, 4), np.float32))
    damaged = bytearray(path.read_bytes())
    damaged[44:48] = np.array([-1, -1], "<i2").tobytes()
    path.write_bytes(damaged)
    with pytest.raises(EmptyImageError, match="no voxels"):
        read_nifti(path)
