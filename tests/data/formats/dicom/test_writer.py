# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""A derived series holds the new values where the old ones were, says that it is derived, and names its source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from monai.transforms.compose import Compose
from monai.transforms.io.dictionary import LoadImaged
from monai.transforms.post.dictionary import Invertd
from monai.transforms.utility.dictionary import EnsureChannelFirstd
from pydicom.dataset import Dataset

from monai_stcnnt.data.formats.dicom.slabs import read_dicom
from monai_stcnnt.data.formats.dicom.writer import write_dicom_series
from monai_stcnnt.data.formats.nifti import read_nifti
from monai_stcnnt.data.formats.nifti_writer import write_nifti
from monai_stcnnt.data.formats.registry import read_series
from monai_stcnnt.data.reader import SeriesReader
from monai_stcnnt.data.record import SeriesRecord
from monai_stcnnt.data.writer_transform import SaveImageSeriesd
from monai_stcnnt.errors import OutputNotWritableError
from monai_stcnnt.transforms.frames import FileToFramesd

__all__: list[str] = []

# MONAI tells of a decoder that is not installed whenever a loader is made.
pytestmark = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")

MakeFiles = Callable[..., Path]
VALUES = np.arange(7 * 3 * 4 * 5).reshape(7, 3, 4, 5)


def headers(folder: Path) -> list[Dataset]:
    """Headers of a series in the order of their names."""
    return [pydicom.dcmread(file) for file in sorted(folder.iterdir())]


def source(kind: str, make_dicom: MakeFiles, make_enhanced: MakeFiles) -> SeriesRecord:
    """Record of a simulated series."""
    return read_dicom(make_dicom("in", VALUES) if kind == "classic" else make_enhanced("in.dcm", VALUES))


@pytest.mark.parametrize("kind", ["classic", "enhanced"])
@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (0.731, 0), (0.731, -3.3), (1e-4, 0), (1e5, 7)])
def test_values_are_kept_to_half_a_step(
    make_dicom: MakeFiles, make_enhanced: MakeFiles, tmp_path: Path, kind: str, scale: float, shift: float
) -> None:
    record = source(kind, make_dicom, make_enhanced)
    record = record.with_array(record.array * np.float32(scale) + np.float32(shift))
    again = read_dicom(write_dicom_series(record, tmp_path / "out"))
    step = float(headers(tmp_path / "out")[0].RescaleSlope)
    assert step <= max(1.0, 1.001 * float(np.ptp(np.append(record.array, 0))) / 65535)
    if scale == 1:
        np.testing.assert_array_equal(again.array, record.array)
    rounding = 2e-7 * np.abs(record.array).max()
    assert np.abs(again.array - record.array).max() <= step / 2 + rounding
    np.testing.assert_allclose(again.affine, record.affine, atol=1e-4)
    np.testing.assert_allclose(again.frame_times, record.frame_times)


def test_dicom_and_nifti_give_the_same_values(make_dicom: MakeFiles, tmp_path: Path) -> None:
    record = read_dicom(make_dicom("in", VALUES))
    record = record.with_array(record.array * np.float32(0.37))
    dicom = read_dicom(write_dicom_series(record, tmp_path / "out"))
    nifti = read_nifti(write_nifti(record, tmp_path / "out.nii.gz"))
    step = float(headers(tmp_path / "out")[0].RescaleSlope)
    assert np.abs(dicom.array - nifti.array).max() <= step / 2 + 1e-5
    np.testing.assert_allclose(nifti.affine, dicom.affine, atol=1e-4)
    np.testing.assert_allclose(nifti.frame_times, dicom.frame_times, rtol=1e-6)


@pytest.mark.parametrize("kind", ["classic", "enhanced"])
def test_headers_say_what_was_done(make_dicom: MakeFiles, make_enhanced: MakeFiles, tmp_path: Path, kind: str) -> None:
    record = source(kind, make_dicom, make_enhanced)
    derived = headers(write_dicom_series(record, tmp_path / "out", derivation="Denoised in a test"))
    before = [pydicom.dcmread(file) for file in record.metadata["dicom_files"]]
    assert len(derived) == 21
    assert len({header.SOPInstanceUID for header in derived}) == 21
    assert len({header.SeriesInstanceUID for header in derived}) == 1
    known = {header.SOPInstanceUID for header in before} | {before[0].SeriesInstanceUID}
    assert not known & {uid for header in derived for uid in (header.SOPInstanceUID, header.SeriesInstanceUID)}
    for header in derived:
        assert header.ImageType[:2] == ["DERIVED", "SECONDARY"]
        assert header.SOPClassUID.name == "MR Image Storage"
        assert header.file_meta.MediaStorageSOPInstanceUID == header.SOPInstanceUID
        assert header.DerivationDescription == "Denoised in a test"
        assert header.SeriesDescription == "cine denoised"
        assert header.SourceImageSequence[0].ReferencedSOPInstanceUID in known
        assert ("ReferencedFrameNumber" in header.SourceImageSequence[0]) is (kind == "enhanced")
        for name in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "Modality"):
            assert header[name].value == before[0][name].value
    pairs = {(header.TriggerTime, tuple(header.ImagePositionPatient)) for header in derived}
    assert len(pairs) == 21


def test_private_and_stale_attributes_are_left_out(make_dicom: MakeFiles, tmp_path: Path) -> None:
    def change(_: int, __: int, dataset: Dataset) -> None:
        dataset.private_block(0x0029, "VENDOR", create=True).add_new(1, "LO", "secret")
        dataset.LargestImagePixelValue, dataset.WindowCenter = 7, 3
        dataset.add_new(0x60000010, "US", 4)

    record = read_dicom(make_dicom("in", VALUES, change=change))
    for header in headers(write_dicom_series(record.with_array(record.array * 10), tmp_path / "out")):
        assert not any(element.tag.is_private for element in header)
        assert "LargestImagePixelValue" not in header
        assert 0x60000010 not in header
        low, high = header.WindowCenter - header.WindowWidth / 2, header.WindowCenter + header.WindowWidth / 2
        assert -50 < low < 100
        assert 4000 < high < 4300


def test_every_run_makes_new_uids_unless_a_seed_is_given(make_dicom: MakeFiles, tmp_path: Path) -> None:
    record = read_dicom(make_dicom("in", VALUES[:2]))
    folders = [write_dicom_series(record, tmp_path / name, uid_seed=seed) for name, seed in
               [("a", None), ("b", None), ("c", "x"), ("d", "x"), ("e", "y")]]  # fmt: skip
    uids = [{header.SOPInstanceUID for header in headers(folder)} for folder in folders]
    assert not uids[0] & uids[1]
    assert uids[2] == uids[3]
    assert not uids[2] & uids[4]
    for first, second in zip(sorted(folders[2].iterdir()), sorted(folders[3].iterdir()), strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_what_cannot_be_written_is_refused(make_dicom: MakeFiles, make_nifti: MakeFiles, tmp_path: Path) -> None:
    record = read_dicom(make_dicom("in", VALUES))
    moved = record.affine.copy()
    moved[:3, 3] += 5
    out = tmp_path / "out"
    cases = [
        (SeriesRecord(record.array, moved, record.frame_times, record.metadata), "geometry"),
        (SeriesRecord(record.array[..., 1:], record.affine, record.frame_times, record.metadata), "size"),
        (record.with_array(np.concatenate([record.array, record.array])), "complex"),
        (read_nifti(make_nifti("in.nii", VALUES.astype(np.float32))), "read from DICOM"),
    ]
    for bad, message in cases:
        with pytest.raises(OutputNotWritableError, match=message):
            write_dicom_series(bad, out)
    assert not out.exists()
    write_dicom_series(record, out)
    with pytest.raises(OutputNotWritableError, match="exists already"):
        write_dicom_series(record, out)


def test_failed_write_leaves_nothing(make_dicom: MakeFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = read_dicom(make_dicom("in", VALUES))
    save, calls = pydicom.FileDataset.save_as, []

    def fail_at_the_fifth(self: pydicom.FileDataset, *args: object, **kwargs: object) -> None:
        calls.append(1)
        if len(calls) == 5:
            raise OSError(28, "No space left on device")
        save(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(pydicom.FileDataset, "save_as", fail_at_the_fifth)
    with pytest.raises(OutputNotWritableError, match="No space left"):
        write_dicom_series(record, tmp_path / "out" / "series")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("output_format", ["same", "nifti"])
def test_chain_from_dicom_to_file(make_dicom: MakeFiles, tmp_path: Path, output_format: str) -> None:
    folder = make_dicom("in/scan", VALUES)
    pre = Compose([LoadImaged("image", reader=SeriesReader, dtype=None), EnsureChannelFirstd("image"), FileToFramesd("image")])  # fmt: skip  # noqa: E501
    d = pre({"image": folder})
    assert tuple(d["image"].shape) == (3, 1, 7, 4, 5)
    d["pred"] = d["image"] * 2
    saver = SaveImageSeriesd("pred", tmp_path / "out", input_root=tmp_path / "in", output_format=output_format)  # type: ignore[arg-type]
    Compose([Invertd("pred", transform=pre, orig_keys="image"), saver])(d)
    target = tmp_path / "out" / ("scan_denoised" if output_format == "same" else "scan_denoised.nii.gz")
    record = read_series(target)
    np.testing.assert_array_equal(record.array[0], 2 * VALUES)
    np.testing.assert_allclose(record.frame_times, 40.0 * np.arange(7), rtol=1e-6)
    np.testing.assert_allclose(record.affine, read_dicom(folder).affine, atol=1e-4)


@pytest.mark.parametrize(
    "folder",
    ["cine_sax_bivme/dicom_one_slice_Se2", "dicom_philips_classic_phantom/dicom", "dicom_siemens_mosaic_fmri/dicom"],
)
def test_sample_scans_come_back(shared_data: Path, tmp_path: Path, folder: str) -> None:
    record = read_series(shared_data / folder)
    scaled = record.with_array(record.array * np.float32(0.9))
    again = read_series(write_dicom_series(scaled, tmp_path / "out"))
    step = float(headers(tmp_path / "out")[0].RescaleSlope)
    assert np.abs(again.array - scaled.array).max() <= step / 2 + 1e-6 * scaled.array.max()
    np.testing.assert_allclose(again.affine, record.affine, atol=1e-4)
    np.testing.assert_allclose(again.frame_times, record.frame_times, atol=1e-3)
