# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Make ``denoise.html``: the light denoiser as one page, which needs neither an installation nor the network.

``python tools/build_page.py dist/denoise.html`` fetches what ``tools/page/package-lock.json`` names (npm and node are
needed), exports the network for magnitude images to ONNX, for one frame of any rows and columns, and packs both with
the page. ``make page`` does the same.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template
from typing import Annotated, Any

import numpy as np
import typer
from monai.bundle import ConfigParser

from monai_stcnnt import __version__
from monai_stcnnt.checkpoints import export_network, load_weights
from monai_stcnnt.errors import MissingPackageError
from monai_stcnnt.mri.rician import rician_shape
from monai_stcnnt.networks import build_variant

__all__ = ["WindowOfPage", "build_page", "export_model", "fetch_packages", "runtime_licenses", "window_of_bundle"]

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = REPOSITORY / "tools" / "page"
BUNDLE = REPOSITORY / "bundles" / "mri_denoising"
STYLE = REPOSITORY / "monai_stcnnt" / "apps" / "review" / "templates" / "report.css"
OWN_STYLE = """.stages canvas {
  width: 100%; height: 60vh; object-fit: contain; background: #000; border-radius: 8px; image-rendering: pixelated;
}
.stages { margin-top: 1rem; }
"""
PACKED = ("onnxruntime-web", "nifti-reader-js", "fflate", "dicom-parser")
VARIANCE_STEP = 0.05


@dataclass(frozen=True)
class WindowOfPage:
    """The windows of the page.

    Attributes:
        size: largest number of rows or columns.
        share: what neighbors have in common.
        least: smallest number of rows or columns; smaller slices are extended.
    """

    size: int
    share: float
    least: int = 16


def window_of_bundle() -> WindowOfPage:
    """Rows and columns of the windows that ``stcnnt denoise`` takes."""
    parser = ConfigParser()
    parser.read_config(BUNDLE / "configs" / "inference.json")
    roi_size, overlap = (parser.get_parsed_content(name) for name in ("roi_size", "overlap"))
    return WindowOfPage(int(roi_size[1]), float(overlap[1]))


def export_model(path: Path, window: WindowOfPage) -> None:
    """Export the network for magnitudes of the denoising bundle, for one frame."""
    net = load_weights(build_variant("stcnnt_light_magnitude"), BUNDLE / "models" / "model.pt")
    export_network(net, path, "onnx", 2, (1, window.size, window.size))


def fetch_packages(folder: Path) -> None:
    """Install the packages of the page, as the lock file names them, without running anything of theirs.

    Raises:
        subprocess.CalledProcessError: if npm cannot fetch them.
        FileNotFoundError: without npm.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCES / name, folder)
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    command = ["npm", "ci", *quiet]
    subprocess.run(command, cwd=folder, check=True, stdin=subprocess.DEVNULL)  # nosec B603 B607


def build_page(model: Path, window: WindowOfPage, packages: Path) -> str:
    """Pack a page.

    Args:
        model: an ONNX model that takes ``(1, 2, 1, rows, columns)``, magnitudes in units of the noise and the g-factor
            map, and returns one channel.
        window: its windows.
        packages: folder of :func:`fetch_packages`.

    Returns:
        The page.
    """
    modules = packages / "node_modules"
    script = subprocess.run(  # nosec B603
        [modules / ".bin" / "esbuild", SOURCES / "denoise.js", "--bundle", "--format=esm", "--minify"],
        check=True, capture_output=True, text=True, env={**os.environ, "NODE_PATH": str(modules)},
    ).stdout  # fmt: skip
    style = STYLE.read_text("utf-8") + OWN_STYLE
    signal = np.arange(0, 60, VARIANCE_STEP)
    options: dict[str, Any] = {
        "window": asdict(window),
        "variance": {"step": VARIANCE_STEP, "values": rician_shape(signal)[1].round(6).tolist()},
    }
    policy = [
        "default-src 'none'", "base-uri 'none'", "form-action 'none'", f"style-src 'sha256-{_hash(style)}'",
        f"script-src 'sha256-{_hash(script)}' 'wasm-unsafe-eval'",
    ]  # fmt: skip
    return Template((SOURCES / "denoise.html").read_text("utf-8")).substitute(
        policy="; ".join(policy),
        style=style,
        script=script,
        options=json.dumps(options),
        runtime=_packed(modules / "onnxruntime-web" / "dist" / "ort-wasm-simd-threaded.wasm"),
        model=_packed(model),
        licenses=html.escape(_licenses(modules)),
        version=html.escape(__version__),
    )


def _packed(path: Path) -> str:
    return base64.b64encode(gzip.compress(path.read_bytes(), 9, mtime=0)).decode()


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _licenses(modules: Path) -> str:
    """Names, versions and licenses of the packages whose code is in the page."""
    parts = [f"monai_stcnnt {__version__}, its network and weights: Apache License 2.0"]
    for name in PACKED:
        package = json.loads((modules / name / "package.json").read_text("utf-8"))
        texts = sorted((modules / name).glob("LICENSE*"))
        text = texts[0].read_text("utf-8").strip() if texts else runtime_licenses()
        parts.append(f"{name} {package['version']}: {package['license']}\n\n{text}")
    return "\n\n".join(parts)


def runtime_licenses() -> str:
    """License of ONNX Runtime, and those of what is built into it: its package for Python has them, that of npm not.

    Raises:
        MissingPackageError: if it is not installed.
    """
    found = importlib.util.find_spec("onnxruntime")
    if found is None or found.origin is None:
        raise MissingPackageError('The page carries the licenses of ONNX Runtime: pip install "monai-stcnnt[onnx]".')
    texts = (Path(found.origin).with_name(name) for name in ("LICENSE", "ThirdPartyNotices.txt"))
    return "\n\n".join(text.read_text("utf-8", "replace").strip() for text in texts)


def main(
    output: Annotated[Path, typer.Argument(help="The page to write.")],
    packages: Annotated[Path, typer.Option(help="Folder for what npm fetches.")] = REPOSITORY / "build" / "page",
) -> None:
    """Export the network, fetch the packages and write the page."""
    window = window_of_bundle()
    fetch_packages(packages)
    with tempfile.TemporaryDirectory() as folder:
        export_model(Path(folder) / "model.onnx", window)
        page = build_page(Path(folder) / "model.onnx", window, packages)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page, encoding="utf-8")
    typer.echo(f"{output}: {output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
