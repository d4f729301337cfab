# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The MRD server with the bundle's own networks: the values of ``stcnnt denoise``, and how long a frame waits."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest

from monai_stcnnt.apps import denoise
from monai_stcnnt.data import SeriesRecord, read_series
from monai_stcnnt.data.formats.nifti_writer import write_nifti
from monai_stcnnt.services.engine import RecordDenoiser
from tests.apps.dicom_files import moving_disc
from tests.services.mrd.clients import exchange, mrd_image, serving

__all__: list[str] = []


def images_of(array: np.ndarray, **fields: Any) -> list[Any]:  # noqa: ANN401 - of a header
    """Images of ``(T, Z, Y, X)``, slice by slice."""
    return [
        mrd_image(array[t, z], slice=z, phase=t, position=(0, 0, 8.0 * z), **fields)
        for z in range(array.shape[1])
        for t in range(len(array))
    ]  # fmt: skip


def denoised_by_file(array: np.ndarray, folder: Path) -> np.ndarray:
    """What ``stcnnt denoise`` makes of ``(C, T, Z, Y, X)`` in a NIfTI file."""
    metadata = {"kind": "complex" if len(array) == 2 else "magnitude", "file_ndim": 4}
    record = SeriesRecord(array, np.eye(4), np.arange(array.shape[1]) * 40.0, metadata)
    source = write_nifti(record, folder / "scan.nii")
    [saved] = denoise(source, folder / "out.nii", progress=False)
    return read_series(saved).array


def test_series_have_the_values_of_the_command(tmp_path: Path) -> None:
    array = moving_disc(2, 2, 24).astype(np.float32)
    with serving(RecordDenoiser) as server:
        received = exchange(server.port, images_of(array))
    expected = denoised_by_file(array[None], tmp_path)
    values = np.array([image.data[0, 0] for image in received]).reshape(2, 2, 24, 24).swapaxes(0, 1)
    np.testing.assert_allclose(values, expected[0], atol=1e-3)
    assert np.abs(values - array).max() > 1


@pytest.mark.slow
def test_complex_series_have_the_values_of_the_command(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(size=(2, 3, 1, 32, 32)) * 20
    array = (np.stack([moving_disc(3, 1, 32, 1), moving_disc(3, 1, 32, 2)]) + noise).astype(np.float32)
    with serving(RecordDenoiser) as server:
        sent = images_of((array[0] + 1j * array[1]).astype(np.complex64), image_type=ismrmrd.IMTYPE_COMPLEX)
        received = exchange(server.port, sent)
    expected = denoised_by_file(array, tmp_path)
    values = np.array([image.data[0, 0] for image in received])
    np.testing.assert_allclose(values, (expected[0] + 1j * expected[1])[:, 0], atol=1e-3)


@pytest.mark.slow
def test_a_real_cine_in_both_modes(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "cine_sunnybrook_train" / "patient001"
    scan = read_series(next(folder.glob("*_4d.nii.gz"), None) or sorted(folder.glob("*.nii.gz"))[0])
    array = scan.array[0, :, 5:6, 40:104, 40:104].astype(np.int16)
    sent = images_of(array)
    with serving(RecordDenoiser) as server:
        received = exchange(server.port, sent, patience=300)
        waits = real_time_waits(server.port, sent)
    values = np.array([image.data[0, 0] for image in received])
    expected = denoised_by_file(array[None].astype(np.float32), tmp_path)[0, :, 0]
    assert np.abs(values - expected).max() <= 0.5 + 1e-2
    assert len(waits) == len(sent)
    assert max(waits) < 60


def real_time_waits(port: int, images: list[Any]) -> list[float]:
    """Seconds from the last byte of a frame that is sent to the last byte of its result."""
    waits = []
    with socket.create_connection(("127.0.0.1", port), timeout=300) as connection, connection.makefile("rwb") as stream:
        serializer, deserializer = ismrmrd.ProtocolSerializer(stream), ismrmrd.ProtocolDeserializer(stream)
        serializer.serialize('{"parameters": {"mode": "realtime"}}')
        for image in images:
            serializer.serialize(image)
            stream.flush()
            start = time.perf_counter()
            next(deserializer.deserialize())
            waits.append(time.perf_counter() - start)
        serializer.close()
    return waits
