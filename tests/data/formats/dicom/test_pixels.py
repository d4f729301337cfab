# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""A compression changes neither values nor places, and one that cannot be decoded is refused with what to install."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import HTJ2K, MPEG2MPML, UID, JPEGExtended12Bit, JPEGLosslessSV1

from monai_stcnnt import errors
from monai_stcnnt.data.formats.dicom import pixels as dicom_pixels
from monai_stcnnt.data.formats.dicom.pixels import DicomPixels, missing_decoder
from monai_stcnnt.data.formats.dicom.slabs import read_dicom

__all__: list[str] = []

MakeFiles = Callable[..., Path]
VALUES = np.random.default_rng(0).integers(0, 4096, (2, 3, 16, 24))


def compress(source: Path, target: Path, syntax: str) -> None:
    """Write a file with compressed pixels."""
    gdcm = pytest.importorskip("gdcm")
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(source))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


@pytest.mark.parametrize(
    ("syntax", "uid"),
    [
        ("RLELossless", "1.2.840.10008.1.2.5"),
        ("JPEGLosslessProcess14", "1.2.840.10008.1.2.4.57"),
        ("JPEGLosslessProcess14_1", "1.2.840.10008.1.2.4.70"),
        ("JPEGLSLossless", "1.2.840.10008.1.2.4.80"),
        ("JPEG2000Lossless", "1.2.840.10008.1.2.4.90"),
    ],
)
def test_compressed_series_is_the_same_series(make_dicom: MakeFiles, tmp_path: Path, syntax: str, uid: str) -> None:
    folder = make_dicom("in", VALUES)
    packed = tmp_path / "packed"
    packed.mkdir()
    for file in folder.iterdir():
        compress(file, packed / file.name, syntax)
        assert pydicom.dcmread(packed / file.name).file_meta.TransferSyntaxUID == uid
    record, expected = read_dicom(packed), read_dicom(folder)
    np.testing.assert_array_equal(record.array[0], VALUES)
    np.testing.assert_array_equal(record.affine, expected.affine)
    np.testing.assert_array_equal(record.frame_times, expected.frame_times)


def test_truncated_pixels_are_refused(make_dicom: MakeFiles, tmp_path: Path) -> None:
    (file,) = make_dicom("in", VALUES[:1, :1]).iterdir()
    compress(file, tmp_path / "packed.dcm", "JPEGLosslessProcess14_1")
    dataset = pydicom.dcmread(tmp_path / "packed.dcm")
    dataset.PixelData = dataset.PixelData[:40] + b"\0" * (len(dataset.PixelData) - 40)
    dataset.save_as(tmp_path / "damaged.dcm")
    with pytest.raises(errors.UnreadableFileError, match=r"JPEG Lossless.*It is damaged"):
        DicomPixels(tmp_path / "damaged.dcm")[0]


# A frame of 16 x 16 with 12 bits, 100 x + 150 y + 50, as dcmcjpeg +ee +q 90 of dcmtk packs it.
JPEG12 = (
    "|JeWF01!$>Nk#wx0RR9200961|JwjV00RO70|EjA0|NsD0|NvF2n7WM1O*BQ2L=cX3JeSj3JVJj4iXRz4iOFu3lJ6%5fc;@6%`B*7Z?^47!ni}"
    "6#u~h3k(1d01yEI5di<h02KfM0RR9100000000000000C3;)Cb91s8i1_J;900000000000000A3nw>4Q(|%d+5iXv0RR9$03JCU5~z>b3>DneA"
    "ykeDR7dRw3hrtsR!0P?Bld#@cQpuABZ5^C`$2-cnveh4"
)


@pytest.mark.parametrize("cut", [0, 60])
def test_lossy_jpeg_of_twelve_bits(make_dicom: MakeFiles, cut: int) -> None:
    pytest.importorskip("gdcm")
    frame = base64.b85decode(JPEG12)
    (file,) = make_dicom("in", VALUES[:1, :1, :, :16]).iterdir()
    dataset = pydicom.dcmread(file)
    dataset.BitsStored, dataset.HighBit = 12, 11
    dataset.file_meta.TransferSyntaxUID = JPEGExtended12Bit
    dataset.PixelData = encapsulate([frame[: len(frame) - cut]])
    dataset.save_as(file)
    if cut:
        with pytest.raises(errors.UnreadableFileError, match=r"JPEG Extended.*It is damaged"):
            read_dicom(file)
        return
    y, x = np.mgrid[:16, :16]
    np.testing.assert_allclose(read_dicom(file).array[0, 0, 0], 100 * x + 150 * y + 50, atol=55)


@pytest.mark.parametrize(
    ("syntax", "message"),
    [
        (JPEGLosslessSV1, r'compressed as JPEG Lossless.*pip install "monai-stcnnt\[dicom\]"'),
        (HTJ2K, "compressed as High-Throughput JPEG 2000.*pip install pylibjpeg pylibjpeg-openjpeg"),
        (MPEG2MPML, "stored as MPEG2 Main Profile.*not read. Convert it"),
        ("1.2.3.4", "stored as 1.2.3.4, which is not read"),
    ],
)
def test_missing_decoder_is_refused_with_what_to_install(
    make_dicom: MakeFiles, monkeypatch: pytest.MonkeyPatch, syntax: str, message: str
) -> None:
    (file,) = make_dicom("in", VALUES[:1, :1]).iterdir()
    dataset = pydicom.dcmread(file)
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.PixelData = encapsulate([b"\0" * 64])
    dataset.save_as(file)
    monkeypatch.setattr(Decoder, "is_available", property(lambda _: False))
    with pytest.raises(errors.UnreadableFileError, match=message) as caught:
        read_dicom(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5"])  # fmt: skip  # noqa: E501
def test_plain_syntaxes_need_nothing(syntax: str) -> None:
    assert missing_decoder(syntax) == ""


def read_pixels(file: Path) -> np.ndarray:
    pixels = DicomPixels(file)
    return np.stack([pixels[number] for number in range(pixels.shape[0])])


def with_geometry(source: Path, target: Path) -> None:
    """Copy of an enhanced file that tells where its frames are."""
    dataset = pydicom.dcmread(source)
    shared = Dataset()
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [Dataset()], [Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence[0].PixelSpacing = [1.5, 1.5]
    dataset.SharedFunctionalGroupsSequence = [shared]
    groups = [Dataset() for _ in range(int(dataset.NumberOfFrames))]
    for number, group in enumerate(groups):
        group.PlanePositionSequence = [Dataset()]
        group.PlanePositionSequence[0].ImagePositionPatient = [0, 0, -4 * number]
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.save_as(target)


@pytest.mark.parametrize("name", ["emri_small_RLE.dcm", "emri_small_jpeg_2k_lossless.dcm"])
def test_enhanced_sample_files(shared_data: Path, tmp_path: Path, name: str) -> None:
    folder = shared_data / "dicom_enhanced_small"
    np.testing.assert_array_equal(read_pixels(folder / name), read_pixels(folder / "emri_small.dcm"))
    with pytest.raises(errors.GeometryError, match="not the position of each"):
        read_dicom(folder / name)
    for source in (name, "emri_small.dcm"):
        with_geometry(folder / source, tmp_path / source)
    record, expected = (read_dicom(tmp_path / source) for source in (name, "emri_small.dcm"))
    assert record.array.shape == (1, 1, 10, 64, 64)
    np.testing.assert_array_equal(record.array, expected.array)
    np.testing.assert_array_equal(record.array[0, 0], read_pixels(folder / "emri_small.dcm")[::-1])


def test_decoding_is_asked_for_once_per_file(make_dicom: MakeFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(syntax: str, bits: int) -> str:
        asked.append(syntax)
        return missing_decoder(syntax, bits)

    monkeypatch.setattr(dicom_pixels, "missing_decoder", ask)
    read_dicom(make_dicom("in", VALUES))
    assert asked == ["1.2.840.10008.1.2.1"] * 6
