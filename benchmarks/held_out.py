# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Scans of subjects that no network of the denoising bundle has learned from, and parts of them to measure on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from monai_stcnnt.data import SeriesRecord, read_series
from monai_stcnnt.data.training.clip_pool import ClipPool
from monai_stcnnt.mri.snr import foreground_mask

__all__ = [
    "FURTHER",
    "HELD_OUT",
    "NIBABEL_SCAN",
    "REPEATED",
    "crop_series",
    "drawn_heads",
    "held_out_scans",
    "nibabel_scan",
    "repeated_scans",
]

HELD_OUT = {
    "brain T1 3D (studyforrest)": "brain_t1_studyforrest/t1_crop_0p67mm.nii.gz",
    "brain BOLD (studyforrest)": "fmri_studyforrest/bold_vol1-16.nii.gz",
    "brain EPI (GE)": "dicom_ge_fmri_repeats/ref_run4.nii.gz",
    "spinal cord T2 3D": "spine_sct/t2.nii.gz",
    "brain DWI (Canon)": "dwi_canon_classic/own_conversion.nii.gz",
}
"""Name -> path below the data folder. nibabel's brain EPI is added."""

FURTHER = {
    "cine (Sunnybrook, patient 5)": "cine_sunnybrook_train/patient005/patient005_4d.nii.gz",
    "brain FLAIR (MS, patient 19)": "ms_lesions_train/patient19/flair.nii.gz",
    "brain T1w (MS, patient 19)": "ms_lesions_train/patient19/t1w.nii.gz",
    "brain T1w (pyradiomics)": "pyradiomics_brain1/image.nii.gz",
    "brain pCASL (Siemens)": "asl_pcasl2d_siemens/pcasl_2d.nii.gz",
}
"""More of them, which came to the project later."""

REPEATED = {name: {**HELD_OUT, **FURTHER}[name] for name in ("brain BOLD (studyforrest)", "brain pCASL (Siemens)")}
"""Those whose frames repeat one image, but for what physiology changes."""

NIBABEL_SCAN = "brain EPI (nibabel)"


def held_out_scans(
    data: Path | None, others: Sequence[Path], size: Sequence[int] | None, *, further: bool = False
) -> Iterator[tuple[str, SeriesRecord]]:
    """Read scans, and cut out the part that is measured.

    Args:
        data: folder of the scans; without it, nibabel's alone.
        others: files beside them.
        size: see :func:`crop_series`; None for all.
        further: take those of :data:`FURTHER` instead of :data:`HELD_OUT` and nibabel's.

    Yields:
        Name and series.
    """
    listed = FURTHER if further else HELD_OUT
    paths = {} if data is None else {name: data / path for name, path in listed.items()}
    if not further:
        paths[NIBABEL_SCAN] = _nibabel_file()
    paths.update({path.name: path for path in others})
    for name, path in paths.items():
        yield name, _part_of_scan(path, size)


def repeated_scans(data: Path, size: Sequence[int] | None) -> Iterator[tuple[str, SeriesRecord, SeriesRecord]]:
    """Read scans whose frames repeat one image, as two series of the same image with noise of their own.

    Pairs of frames go to one and the other in turns, since frames of ASL come in pairs.

    Args:
        data: folder of the scans.
        size: of each of the two, see :func:`crop_series`; None for all.

    Yields:
        Name, and two series of equally many frames.
    """
    for name, path in REPEATED.items():
        series = _part_of_scan(data / path, None if size is None else (2 * size[0], *size[1:]))
        pairs = series.array.shape[1] // 4 * 4
        places = np.arange(pairs).reshape(-1, 2, 2)
        given, others = (
            replace(series, array=series.array[:, chosen], frame_times=series.frame_times[chosen])
            for chosen in (places[:, half].ravel() for half in (0, 1))
        )
        yield name, given, others


def drawn_heads(clips: Path, size: Sequence[int], count: int = 6) -> Iterator[tuple[str, SeriesRecord]]:
    """Draw images of random contrasts from the label map of a head on which no network is trained, without any noise.

    Args:
        clips: file of ``tools/pack_clips.py``.
        size: frames, rows and columns; what follows is ignored.
        count: number of images.

    Yields:
        Name and series.
    """
    pool = ClipPool(clips, "cpu", "validation", 3, {"labels": 1.0})
    torch.manual_seed(0)
    for n in range(count):
        array = pool.draw(1, size[:3]).numpy()[:, :, None]
        yield f"drawn head {n + 1}", SeriesRecord(array, np.eye(4), np.arange(float(size[0])))


def nibabel_scan(size: Sequence[int] | None) -> SeriesRecord:
    """The scan that nibabel brings, or a part of it."""
    return _part_of_scan(_nibabel_file(), size)


def _nibabel_file() -> Path:
    return Path(str(files("nibabel") / "tests" / "data" / "example4d.nii.gz"))


def _part_of_scan(path: Path, size: Sequence[int] | None) -> SeriesRecord:
    series = read_series(path)
    return series if size is None else crop_series(series, size)


def crop_series(series: SeriesRecord, size: Sequence[int]) -> SeriesRecord:
    """Cut a series around its signal, so that all methods run in reasonable time.

    Args:
        series: the scan.
        size: largest numbers of frames, rows, columns, and slices with frames; frames are time, or depth of a volume.

    Returns:
        The part; rows and columns around the center of the foreground, frames and slices around the middle.
    """
    frames, rows, columns, slices = size
    _, times, depth, height, width = series.array.shape
    inside = foreground_mask(torch.tensor(series.magnitude)).numpy()
    center_y, center_x = (
        float((inside.sum(axis=axes) * np.arange(n)).sum()) / max(1, inside.sum())
        for axes, n in (((0, 1, 3), height), ((0, 1, 2), width))
    )
    wanted = (
        (times, frames, times / 2),
        (depth, slices if times > 1 else frames, depth / 2),
        (height, rows, center_y),
        (width, columns, center_x),
    )
    parts = tuple(_part(length, most, center) for length, most, center in wanted)
    return replace(series, array=series.array[:, *parts], frame_times=series.frame_times[parts[0]])


def _part(length: int, most: int, center: float) -> slice:
    extent = min(length, most)
    start = int(np.clip(round(center - extent / 2), 0, length - extent))
    return slice(start, start + extent)
