# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""MRD files written by ``ismrmrd``'s own library are read with their geometry and times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np
import pytest

from monai_stcnnt.data import list_series, read_series
from monai_stcnnt.data.formats.registry import can_read, list_images, result_extension
from monai_stcnnt.errors import EmptyImageError, NotAnImageError, SeriesSelectionError, UnreadableFileError
from tests.services.mrd.clients import cine, mrd_image

__all__: list[str] = []


def write(path: Path, images: list[Any], group: str = "dataset", raw: bool = False) -> Path:
    """Write images as python-ismrmrd-server does: a table for each series index."""
    with ismrmrd.Dataset(str(path), group) as file:
        file.write_xml_header(b"<ismrmrdHeader/>")
        for image in images:
            file.append_image(f"image_{image.image_series_index}", image)
        if raw:
            file.append_acquisition(ismrmrd.Acquisition.from_array(np.ones((1, 8), np.complex64)))
    return path


def test_a_cine_has_its_values_geometry_and_times(tmp_path: Path) -> None:
    sent = cine(frames=3, slices=2)
    record = read_series(write(tmp_path / "scan.h5", sent[::-1]))
    assert record.array.shape == (1, 3, 2, 8, 8)
    for number, image in enumerate(sent):
        np.testing.assert_array_equal(record.array[0, number % 3, number // 3], image.data[0, 0])
    np.testing.assert_allclose(record.spacing, [1.5, 1.5, 10])
    np.testing.assert_array_equal(record.frame_times, [0, 40, 80])
    # voxel (4, 4, z) lies at the position of its slice, in RAS
    np.testing.assert_allclose((record.affine @ [4, 4, 1, 1])[:3], [-5, 3, 10], atol=1e-5)


def test_complex_pixels_are_read(tmp_path: Path) -> None:
    values = (np.arange(64).reshape(8, 8) * (1 - 1j)).astype(np.complex64)
    record = read_series(write(tmp_path / "scan.h5", [mrd_image(values, image_type=ismrmrd.IMTYPE_COMPLEX)]))
    np.testing.assert_array_equal(record.array[:, 0, 0], [values.real, values.imag])


def test_volumes_are_stacks_along_the_slice_direction(tmp_path: Path) -> None:
    values = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)
    record = read_series(write(tmp_path / "scan.h5", [mrd_image(values)]))
    np.testing.assert_array_equal(record.array[0, 0], values)
    np.testing.assert_allclose(record.spacing, [1.5, 1.5, 8])
    np.testing.assert_allclose((record.affine @ [2.5, 2, 1.5, 1])[:3], 0, atol=1e-5)


def test_series_are_listed_and_chosen_by_number(tmp_path: Path) -> None:
    sent = [*cine(2, 1), *cine(1, 1, image_series_index=1, contrast=1)]
    phase = mrd_image(np.full((8, 8), 7, np.uint16), image_type=ismrmrd.IMTYPE_PHASE, image_series_index=2, set=1)
    path = write(tmp_path / "scan.h5", [*sent, phase])
    listed = list_images(path)
    assert [(one.series, one.kind, bool(one.refused)) for one in listed] == [
        ("1", "magnitude", False), ("2", "magnitude", False), ("3", "phase", True),
    ]  # fmt: skip
    assert listed[0].shape == (8, 8, 1, 2)
    with pytest.raises(SeriesSelectionError, match="3 series"):
        read_series(path)
    assert read_series(path, series="1").array.shape[1] == 2
    assert read_series(path, series=2).array.shape[1] == 1
    with pytest.raises(NotAnImageError, match="phase"):
        read_series(path, series=3)
    with pytest.raises(SeriesSelectionError, match="1 to 3"):
        read_series(path, series=4)


def test_runs_in_one_file_are_kept_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "scan.h5", cine(2, 1))
    write(path, cine(2, 1), "2026-11-27 01:02:03")
    assert [one.shape for one in list_images(path)] == [(8, 8, 1, 2)] * 2


def test_a_result_is_nifti(tmp_path: Path) -> None:
    assert result_extension(tmp_path / "scan.h5", "mrd", "magnitude") == ".nii.gz"


def test_other_files_of_the_same_ending_are_left_alone(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["values"] = np.ones(3)
    (tmp_path / "text.h5").write_text("no HDF5")
    write(tmp_path / "scan.h5", cine(1, 1))
    assert list_series(tmp_path) == [tmp_path / "scan.h5"]
    assert not can_read(tmp_path / "other.h5")


def test_raw_data_have_to_be_reconstructed_first(tmp_path: Path) -> None:
    path = write(tmp_path / "raw.h5", [], raw=True)
    with pytest.raises(NotAnImageError, match="Reconstruct"):
        read_series(path)
    assert "Reconstruct" in list_images(path)[0].refused


def test_a_file_with_colors_alone_has_no_image(tmp_path: Path) -> None:
    colors = mrd_image(np.ones((3, 1, 8, 8), np.uint16), image_type=ismrmrd.IMTYPE_RGB)
    with pytest.raises(EmptyImageError):
        read_series(write(tmp_path / "scan.h5", [colors]))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_damaged_file_is_one_sentence(share: float, tmp_path: Path) -> None:
    path = write(tmp_path / "scan.h5", cine(4, 2))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UnreadableFileError, match=r"scan\.h5"):
        read_series(path)
