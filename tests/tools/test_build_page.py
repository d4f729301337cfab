# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The page that denoises in a browser: files in and out, windows, noise level, and the network itself."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from filelock import FileLock
from monai.bundle import ConfigParser
from torch import nn

from monai_stcnnt.apps.denoising import denoise
from monai_stcnnt.data import read_series
from monai_stcnnt.inferers import FrameSlidingWindowInferer
from monai_stcnnt.mri import estimate_noise_level
from monai_stcnnt.mri.phantom import cine_phantom
from tests.apps.browser import Page, open_page
from tests.apps.dicom_files import moving_disc, write_series
from tools.build_page import (
    REPOSITORY,
    WindowOfPage,
    build_page,
    export_model,
    fetch_packages,
    runtime_licenses,
    window_of_bundle,
)

__all__: list[str] = []

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SIGMA = 15.0
WINDOW = WindowOfPage(32, 0.125)


def noisy(size: tuple[int, int, int], *, air: bool = True) -> np.ndarray:
    """Magnitudes (slices, rows, columns) of a phantom with noise of level SIGMA."""
    clean = 300.0 * cine_phantom(size).image.abs().numpy() + (0 if air else 150)
    noise = SIGMA * np.random.default_rng(0).standard_normal((2, *clean.shape))
    return np.asarray(np.hypot(clean + noise[0], noise[1]), dtype=np.float32)


def write_nifti(values: np.ndarray, path: Path) -> Path:
    """Write magnitudes (slices, rows, columns) as a file with axes of its own."""
    affine = np.array([[-1.5, 0, 0, 30], [0, -1.2, 0.3, 20], [0, 0, 8, -5], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(values.transpose(2, 1, 0), affine), path)
    return path


class SmallNet(nn.Module):
    """A network that is one convolution, which an ONNX model can be written of by hand."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv3d(2, 1, (1, 3, 3), padding=(0, 1, 1))
        nn.init.uniform_(self.conv.weight, 0, 0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv(x)
        return y

    def save(self, path: Path) -> None:
        """Write the ONNX model, for any rows and columns."""
        onnx = pytest.importorskip("onnx")
        value, helper = onnx.TensorProto.FLOAT, onnx.helper
        arrays = {name: onnx.numpy_helper.from_array(p.detach().numpy(), name) for name, p in self.named_parameters()}
        node = helper.make_node("Conv", ["x", *arrays], ["y"], kernel_shape=[1, 3, 3], pads=[0, 1, 1, 0, 1, 1])
        ends = [helper.make_tensor_value_info(n, value, [1, c, 1, "h", "w"]) for n, c in (("x", 2), ("y", 1))]
        graph = helper.make_graph([node], "small", ends[:1], ends[1:], list(arrays.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        onnx.save(model, path)


@pytest.fixture(scope="module")
def packages() -> Path:
    """What npm fetches."""
    folder = REPOSITORY / "build" / "page"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "node_modules" / ".bin" / "esbuild").exists():
            try:
                fetch_packages(folder)
            except (subprocess.CalledProcessError, FileNotFoundError):
                pytest.skip("npm does not get the packages of the page")
    return folder


@pytest.fixture(scope="module")
def small_page(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with the small network."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("page")
    SmallNet().save(folder / "small.onnx")
    path = folder / "denoise.html"
    path.write_text(build_page(folder / "small.onnx", WINDOW, packages), encoding="utf-8")
    return path


@contextmanager
def opened(path: Path, folder: Path) -> Iterator[Page]:
    """Open the page, which saves into a folder."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    with open_page(CHROMIUM, path, folder / "profile") as page:
        session, page.session = page.session, None
        page.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        page.session = session
        page.wait("document.body?.dataset.ready === 'yes'")
        yield page


def drop(page: Page, *paths: Path) -> str:
    """Drop files or folders on the page; what it says then."""
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    page.ask("document.getElementById('message').textContent = ''")
    for kind in ("dragEnter", "dragOver", "drop"):
        page.send("Input.dispatchDragEvent", type=kind, x=300, y=200, data=data)
    page.wait("!['', 'Reading …'].includes(document.getElementById('message').textContent)")
    return str(page.ask("document.getElementById('message').textContent"))


def denoised(page: Page, folder: Path, sigma: float | None = None) -> nib.Nifti1Image:
    """Press the buttons; the file that the page saves."""
    if sigma is not None:
        page.ask(f"document.getElementById('sigma').value = {sigma}")
        page.ask("document.getElementById('sigma').dispatchEvent(new Event('change'))")
    page.ask("document.getElementById('all').click()")
    page.wait("!document.getElementById('save').disabled")
    page.ask("document.getElementById('save').click()")
    saved = folder / "denoised.nii"
    end = time.monotonic() + 30
    while not saved.exists() or list(folder.glob("*.crdownload")):
        assert time.monotonic() < end, "nothing was saved"
        time.sleep(0.05)
    return load(saved)


def load(path: Path) -> nib.Nifti1Image:
    """Read a NIfTI file."""
    image = nib.load(path)
    assert isinstance(image, nib.Nifti1Image)
    return image


@torch.no_grad()
@pytest.mark.parametrize(("rows", "columns"), [(40, 71), (32, 60), (27, 113)])
def test_a_file_comes_out_as_the_sliding_window_makes_it(
    small_page: Path, tmp_path: Path, rows: int, columns: int
) -> None:
    values = noisy((2, rows, columns))
    source = write_nifti(values, tmp_path / "scan.nii.gz")
    with opened(small_page, tmp_path) as page:
        assert f"{columns} x {rows}, 2 slices, 1 frames" in drop(page, source)
        assert page.ask("document.getElementById('save').disabled")
        result = denoised(page, tmp_path, SIGMA)
        assert all(url.startswith(("file:", "blob:", "data:")) for url in page.requests)
        assert page.complaints == []
    inferer = FrameSlidingWindowInferer((1, WINDOW.size, WINDOW.size), overlap=WINDOW.share, shrink_to_image=True)
    net = SmallNet()
    for n, image in enumerate(torch.from_numpy(values) / SIGMA):
        x = torch.stack([image, torch.ones_like(image)])[None, :, None]
        wanted = SIGMA * inferer(x, lambda patch: net(patch).clamp(min=0))[0, 0, 0]
        found = np.asarray(result.dataobj)[:, :, n].T
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(result.affine, load(source).affine)
    np.testing.assert_allclose(result.header.get_zooms(), load(source).header.get_zooms(), rtol=1e-6)


def test_a_folder_comes_out_with_its_geometry(small_page: Path, tmp_path: Path) -> None:
    values = np.round(moving_disc(3, 2, 36))
    folder = write_series(tmp_path / "dicom", values)
    (folder / "notes.txt").write_text("not an image", encoding="utf-8")
    record = read_series(folder)
    with opened(small_page, tmp_path) as page:
        assert "36 x 36, 2 slices, 3 frames" in drop(page, folder)
        result = denoised(page, tmp_path)
    assert result.shape == (36, 36, 2, 3)
    np.testing.assert_allclose(result.affine, record.affine, atol=1e-3)
    mean = np.asarray(result.dataobj).mean((0, 1)).T
    order = np.argsort(record.array[0].mean((2, 3)).ravel())
    assert (np.diff(mean.ravel()[order]) > 0).all()


@pytest.mark.parametrize("air", [True, False])
def test_the_noise_level_is_that_of_the_package(small_page: Path, tmp_path: Path, air: bool) -> None:
    values = noisy((1, 128, 120), air=air)
    wanted = estimate_noise_level(torch.from_numpy(values)[None])
    assert (wanted.method == "background") == air
    with opened(small_page, tmp_path) as page:
        drop(page, write_nifti(values, tmp_path / "scan.nii"))
        assert float(page.ask("document.getElementById('sigma').value")) == pytest.approx(wanted.sigma, rel=5e-3)


def test_what_is_no_magnitude_is_refused_with_a_sentence(small_page: Path, tmp_path: Path) -> None:
    values = noisy((1, 40, 40))
    file = write_nifti(values, tmp_path / "a.nii")
    nib.save(nib.Nifti1Image(values.astype(np.complex64), np.eye(4)), tmp_path / "complex.nii")
    (tmp_path / "cut.nii").write_bytes(file.read_bytes()[:3000])
    (tmp_path / "text.txt").write_text("no image", encoding="utf-8")
    phase = write_series(tmp_path / "phase", np.round(moving_disc(1, 2)), component="P")
    cases = {
        (file, tmp_path / "complex.nii"): "2 NIfTI files",
        (tmp_path / "complex.nii",): "not a magnitude",
        (tmp_path / "cut.nii",): "ends too early",
        (tmp_path / "text.txt",): "no MR image",
        (phase,): "is a phase image",
    }
    with opened(small_page, tmp_path) as page:
        for paths, message in cases.items():
            assert message in drop(page, *paths)
            assert page.ask("document.getElementById('work').hidden")


def test_the_page_names_what_is_packed(small_page: Path) -> None:
    page = small_page.read_text(encoding="utf-8")
    for name in ("onnxruntime-web", "nifti-reader-js", "fflate", "dicom-parser"):
        assert re.search(rf"{name} \d+\.\d+\.\d+: MIT", page)
    assert "THE SOFTWARE IS PROVIDED" in page


def test_the_runtime_comes_with_the_licenses_of_what_is_built_into_it() -> None:
    pytest.importorskip("onnxruntime")
    licenses = runtime_licenses()
    assert licenses.startswith("MIT License")
    assert all(name in licenses for name in ("Eigen", "abseil", "flatbuffers"))


def test_the_windows_are_those_of_the_bundle() -> None:
    parser = ConfigParser()
    parser.read_config(REPOSITORY / "bundles" / "mri_denoising" / "configs" / "inference.json")
    inferer, window = parser.get_parsed_content("inferer"), window_of_bundle()
    assert inferer.window[1:] == (window.size, window.size)
    assert inferer.shares[1:] == (window.share, window.share)


@pytest.fixture(scope="module")
def true_page(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as it is made, which takes minutes."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    folder, window = tmp_path_factory.mktemp("true_page"), window_of_bundle()
    export_model(folder / "model.onnx", window)
    path = folder / "denoise.html"
    path.write_text(build_page(folder / "model.onnx", window, packages), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("size", [(120, 176), (96, 80), (100, 130), (47, 66), (16, 21)])
def test_one_slice_comes_out_as_the_command_makes_it(true_page: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    source = write_nifti(noisy((1, *size)), tmp_path / "scan.nii")
    denoise(source, tmp_path / "command.nii", noise_sigma=SIGMA, noise_spectrum="white")
    wanted = load(tmp_path / "command.nii").get_fdata()
    with opened(true_page, tmp_path) as page:
        drop(page, source)
        found = denoised(page, tmp_path, SIGMA).get_fdata()
    difference = np.abs(found - wanted) / wanted.max()
    assert difference.max() < 1e-2
    assert (difference > 1e-3).mean() < 5e-3  # where a group takes another of two blocks that are equally near
