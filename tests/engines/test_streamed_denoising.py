# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Denoising slab by slab gives what denoising at once gives, in memory that does not grow with the frames."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor

from monai_stcnnt.apps import denoise
from monai_stcnnt.apps.bundles import (
    bfloat16_is_fast,
    bundle_folder,
    expected_remarks,
    open_inference,
    windows_at_once,
)
from monai_stcnnt.data import SaveSeries, open_series, read_series
from monai_stcnnt.engines.series_frames import SeriesFrames, estimate_series_noise
from monai_stcnnt.engines.streamed_denoising import denoise_series
from monai_stcnnt.errors import ChangedFileError, GFactorMapError, NoiseLevelError
from monai_stcnnt.inferers import FrameSlidingWindowInferer
from monai_stcnnt.mri.noise_estimation import estimate_noise_model
from monai_stcnnt.transforms import (
    AppendGFactord,
    FileToFramesd,
    FrameAxis,
    NoiseOptions,
    ToSNRUnitsd,
)

__all__: list[str] = []

WINDOW = (4, 8, 8)


class Mix(torch.nn.Module):
    """A network that looks at neighbors in all directions and at the g-factor map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = torch.nn.Conv3d(channels + 1, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv(x)
        return y


def write_scan(path: Path, shape: tuple[int, ...], kind: str = "f4", seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    values = 100 + rng.normal(0, 10, shape) + (1j * rng.normal(0, 10, shape) if kind == "c8" else 0)
    nib.save(nib.Nifti1Image(values.astype(kind), np.diag([1.5, 1.5, 8, 1])), path)
    return path


def stream(image: Path, output: Path, net: torch.nn.Module, gmap: Path | None = None, **options: Any) -> Path:  # noqa: ANN401
    """Denoise one series, reading and writing slab by slab."""
    known = None if gmap is None else open_series(gmap, memory=0, check=False)
    inferer = FrameSlidingWindowInferer(WINDOW, overlap=0.25)
    noise = NoiseOptions(options.pop("noise_sigma", None), "white")
    saved = denoise_series(
        open_series(image, memory=0), SaveSeries(output), net, inferer, gmap=known, noise=noise, **options
    )
    assert saved.meta["saved_to"] == str(saved.path)
    return saved.path


def at_once(image: Path, net: torch.nn.Module, gmap: Path | None, sigma: float, axis: FrameAxis) -> np.ndarray:
    """The same by transforms over the whole series: values ``(X, Y[, Z[, T]])``."""
    item: dict[Any, Any] = {}
    for key, path in (("image", image), ("gmap", gmap)):
        if path is not None:
            record = read_series(path, check=False)
            item[key] = MetaTensor(torch.from_numpy(record.to_spatial())[None], meta=dict(record.metadata))
    to_frames = FileToFramesd(["gmap", "image"], axis, source_key="image", allow_missing_keys=True)
    to_snr = ToSNRUnitsd("image", sigma)
    done = to_snr(to_frames(item))
    frames = AppendGFactord("image", channel_dim=1)(done)["image"]
    with torch.no_grad():
        out = FrameSlidingWindowInferer(WINDOW, overlap=0.25)(frames, net)
    result = MetaTensor(out).copy_meta_from(done["image"])
    return np.asarray(to_frames.inverse({"image": to_snr.inverse({"image": result})["image"]})["image"][0])


@pytest.mark.parametrize("axis", ["auto", "time", "slice"])
@pytest.mark.parametrize("kind", ["f4", "c8"])
@pytest.mark.parametrize(("shape", "map_shape"), [
    ((13, 9, 3, 11), (13, 9, 3)), ((13, 9, 3, 11), (13, 9, 3, 11)), ((13, 9, 7), None), ((13, 9), (13, 9)),
])  # fmt: skip
def test_values_are_those_of_the_whole_series_at_once(
    tmp_path: Path, axis: FrameAxis, kind: str, shape: tuple[int, ...], map_shape: tuple[int, ...] | None
) -> None:
    image = write_scan(tmp_path / "scan.nii", shape, kind)
    gmap = None
    if map_shape is not None:
        gmap = tmp_path / "gmap.nii.gz"
        nib.save(nib.Nifti1Image(np.random.default_rng(1).uniform(1, 2, map_shape).astype("f4"), np.eye(4)), gmap)
    net = Mix(2 if kind == "c8" else 1)
    saved = stream(image, tmp_path / "out", net, gmap, noise_sigma=10.0, frame_axis=axis)
    expected = at_once(image, net, gmap, 10.0, axis)
    expected = expected if kind == "c8" else np.maximum(expected, 0)  # magnitudes never come out negative
    np.testing.assert_array_equal(np.asarray(nib.nifti1.load(saved).dataobj), expected)
    assert (np.abs(expected) > 0).any()


@pytest.mark.parametrize("shape", [(24, 20, 3, 11), (24, 20, 7)])
def test_the_noise_level_is_that_of_the_whole_of_a_small_series(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = write_scan(tmp_path / "scan.nii", shape)
    record = read_series(path)
    item = FileToFramesd("image")({"image": torch.from_numpy(record.to_spatial())[None]})["image"]
    with open_series(path, memory=0) as series:
        found = estimate_series_noise(SeriesFrames(series))
    assert found.level == estimate_noise_model(item, is_volume=len(shape) == 3).level
    assert found.level == pytest.approx(10, rel=0.05)
    levels = []
    for value in (1, 2):
        gmap = tmp_path / f"gmap{value}.nii"
        nib.save(nib.Nifti1Image(np.full(shape[:3], value, "f4"), np.eye(4)), gmap)
        with open_series(path, memory=0) as series, open_series(gmap, memory=0, check=False) as known:
            levels.append(estimate_series_noise(SeriesFrames(series, known)).level)
    assert levels[1] == pytest.approx(levels[0] / 2, rel=1e-6)
    assert levels[0] == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize(("kind", "with_map", "sigma", "matrix"), [
    ("f4", False, None, None), ("c8", True, 8.0, None), ("f4", True, None, None), ("f4", False, 8.0, [14, 16]),
    ("f4", True, 8.0, [13, 20]), ("c8", False, 8.0, [14, 15]),
])  # fmt: skip
def test_the_bundle_gives_the_same_by_transforms_and_slab_by_slab(
    tmp_path: Path, kind: str, with_map: bool, sigma: float | None, matrix: list[int] | None
) -> None:
    image = write_scan(tmp_path / "scan.nii.gz", (24, 20, 2, 5), kind)
    gmap = tmp_path / "gmap.nii"
    nib.save(nib.Nifti1Image(np.random.default_rng(1).uniform(1, 2, (24, 20, 2)).astype("f4"), np.eye(4)), gmap)
    contents = []
    for name, memory, engine in (("memory", 1 << 30, "streamed"), ("disk", 0, "streamed"), ("monai", 0, "evaluator")):
        with expected_remarks():
            workflow = open_inference(
                bundle_folder("mri_denoising"), input_file=str(image), output_dir=str(tmp_path / name), memory=memory,
                progress=False, roi_size=[4, 16, 16], gmap=str(gmap) if with_map else None, noise_sigma=sigma,
                acquired_matrix=matrix, run=[f"$@{engine}.run()"],
            )  # fmt: skip
            workflow.run()
            workflow.finalize()
        [saved] = (tmp_path / name).glob("*.nii.gz")
        contents.append(saved)
    assert contents[0].read_bytes() == contents[1].read_bytes()
    streamed, whole = (read_series(path).array for path in contents[1:])
    np.testing.assert_allclose(whole, streamed, atol=1e-3, rtol=1e-4)


def test_batches_of_series_give_what_single_series_give(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    for seed in (0, 1):
        write_scan(tmp_path / "scans" / f"{seed}.nii", (24, 20, 1, 5), seed=seed)
    for size in (1, 2):
        with expected_remarks():
            workflow = open_inference(
                bundle_folder("mri_denoising"), dataset_dir=str(tmp_path / "scans"), progress=False,
                output_dir=str(tmp_path / f"batch{size}"), roi_size=[4, 16, 16], **{"dataloader#batch_size": size},
            )  # fmt: skip
            workflow.evaluator.run()
    for name in ("0_denoised.nii", "1_denoised.nii"):
        single, joined = (read_series(tmp_path / f"batch{size}" / name).array for size in (1, 2))
        np.testing.assert_allclose(joined, single, rtol=1e-5)


def test_a_file_that_changes_meanwhile_is_not_saved(tmp_path: Path) -> None:
    image = write_scan(tmp_path / "scan.nii", (13, 9, 3, 11))

    class Touch(Mix):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            os.utime(image, ns=(0, 0))
            return super().forward(x)

    with pytest.raises(ChangedFileError, match=r"scan\.nii"):
        stream(image, tmp_path / "out", Touch(1), noise_sigma=10.0)
    assert os.listdir(tmp_path / "out") == []


def test_maps_and_levels_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    image = write_scan(tmp_path / "scan.nii", (13, 9, 3, 11))
    for name, values, message in (
        ("size", np.ones((13, 8, 3)), "does not fit"),
        ("zero", np.zeros((13, 9, 3)), "not positive"),
        ("complex", np.ones((13, 9, 3), np.complex64), "does not fit"),
    ):
        gmap = tmp_path / f"{name}.nii"
        nib.save(nib.Nifti1Image(values.astype("c8" if name == "complex" else "f4"), np.eye(4)), gmap)
        series, known = open_series(image), open_series(gmap, check=False)
        with pytest.raises(GFactorMapError, match=message):
            SeriesFrames(series, known)
    wrong: list[dict[str, Any]] = [{"noise_sigma": 0.0}, {"strength": float("inf")}]
    for options in wrong:
        with pytest.raises(NoiseLevelError, match="positive"):
            stream(image, tmp_path / "out", Mix(1), **options)


def test_choices_reach_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = write_scan(tmp_path / "scan.nii", (24, 20, 1, 5))
    seen: list[tuple[int, bool]] = []
    forward = torch.nn.Conv2d.forward

    def watch(self: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        seen.append((len(x), torch.is_autocast_enabled("cpu")))
        return forward(self, x)

    options: dict[str, Any] = {"noise_sigma": 10.0, "roi_size": (4, 16, 16), "progress": False}
    plain = denoise(image, tmp_path / "plain", **options, amp=False)
    monkeypatch.setattr(torch.nn.Conv2d, "forward", watch)
    mixed = denoise(image, tmp_path / "mixed", **options, amp=True, sw_batch_size=3)
    assert max(count for count, _ in seen) == 3 * 5  # all five frames in one window
    assert all(enabled for _, enabled in seen)
    first, second = read_series(plain[0]).array, read_series(mixed[0]).array
    assert 0 < np.abs(first - second).max() < 0.05 * 10.0
    assert (windows_at_once("cpu"), windows_at_once(torch.device("cuda:1"))) == (1, 8)


@pytest.mark.parametrize("capable", [True, False])
def test_half_precision_is_the_choice_of_fast_where_the_processor_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capable: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": capable}, raising=False)
    assert bfloat16_is_fast("cpu") == capable
    assert not bfloat16_is_fast(torch.device("cuda:0"))
    image = write_scan(tmp_path / "scan.nii", (20, 16, 1, 4))
    options: dict[str, Any] = {"noise_sigma": 10.0, "progress": False, "fast": True}
    left, asked = (
        read_series(denoise(image, tmp_path / name, **options, amp=amp)[0]).array
        for name, amp in (("left", None), ("asked", capable))
    )
    np.testing.assert_array_equal(left, asked)


@pytest.mark.slow
def test_a_compiled_network_gives_the_same(tmp_path: Path) -> None:
    image = write_scan(tmp_path / "scan.nii", (20, 16, 1, 4))
    script = (
        "import sys; from monai_stcnnt.apps import denoise; denoise(sys.argv[1], sys.argv[2], noise_sigma=10.0, "
        "roi_size=(4, 16, 16), progress=False, compile=len(sys.argv) > 3)"
    )
    for arguments in (["plain.nii"], ["compiled.nii", "compile"]):
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            script,
            str(image),
            str(tmp_path / arguments[0]),
            *arguments[1:],
        ]
        subprocess.run(command, check=True, capture_output=True)
    plain, compiled = (read_series(tmp_path / name).array for name in ("plain.nii", "compiled.nii"))
    np.testing.assert_allclose(compiled, plain, atol=1e-3 * np.abs(plain).max())


PEAK = """
import resource, sys
from pathlib import Path
import numpy as np
import torch
from monai_stcnnt.engines.streamed_denoising import denoise_series
from monai_stcnnt.data import SaveSeries, open_series
from monai_stcnnt.inferers import FrameSlidingWindowInferer

class Take(torch.nn.Module):
    def forward(self, x):
        return x[:, :1] * 0.5

saver = SaveSeries(Path(sys.argv[1]).parent / "out")
denoise_series(open_series(sys.argv[1]), saver, Take(), FrameSlidingWindowInferer((16, 128, 128)))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_peak_memory_does_not_grow_with_the_frames(tmp_path: Path, make_large: Callable[[Path, int], Path]) -> None:
    peaks = []
    for frames in (180, 720):
        path = make_large(tmp_path / str(frames), frames)
        command = [sys.executable, "-W", "ignore", "-c", PEAK, str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks.append(int(done.stdout) / 1024)
        size = path.stat().st_size / 2**20
    assert size > 500
    assert peaks[1] - peaks[0] < 0.1 * size


@pytest.fixture
def make_large() -> Callable[[Path, int], Path]:
    """Give a function that writes a 256 x 256 x 3 series of float32, frame by frame."""

    def make(folder: Path, frames: int) -> Path:
        folder.mkdir()
        header = nib.Nifti1Header()
        header.set_data_dtype(np.float32)
        header.set_data_shape((256, 256, 3, frames))
        header.set_sform(np.eye(4), 1)
        rng = np.random.default_rng(0)
        with open(folder / "scan.nii", "wb") as file:
            header["vox_offset"] = 352
            header.write_to(file)
            file.seek(352)
            volume = 100 + rng.normal(0, 10, (3, 256, 256)).astype(np.float32)
            for _ in range(frames):
                file.write(np.roll(volume, 1, 1).tobytes())
        return folder / "scan.nii"

    return make
