# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Running bundles from Python: where they lie, and their errors without what MONAI wraps around them."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from monai.bundle import ConfigWorkflow
from monai.utils.module import optional_import

from monai_stcnnt import __version__
from monai_stcnnt.data.provenance import Provenance
from monai_stcnnt.errors import MissingFileError, OptionError, StcnntError

__all__ = [
    "bfloat16_is_fast",
    "bundle_checksum",
    "bundle_folder",
    "bundle_provenance",
    "bundle_root",
    "bundle_work",
    "calling_workflow",
    "check_compiler",
    "check_device",
    "compiler_errors",
    "expected_remarks",
    "open_inference",
    "plain_errors",
    "show_causes",
    "windows_at_once",
]

logger = logging.getLogger(__name__)


def bundle_folder(name: str, bundle: str | Path | None = None) -> Path:
    """Folder of a bundle.

    Args:
        name: a bundle that this package carries, such as ``mri_denoising``.
        bundle: another folder to use instead.

    Raises:
        MissingFileError: if it holds no ``configs/inference.json``.
    """
    carried = Path(str(files("monai_stcnnt"))) / "bundles" / name
    beside = Path(str(files("monai_stcnnt"))).parent / "bundles" / name
    folder = Path(bundle) if bundle is not None else carried if carried.is_dir() else beside
    if not (folder / "configs" / "inference.json").is_file():
        raise MissingFileError(f"{folder} is not a bundle: it has no configs/inference.json.")
    return folder


def bundle_checksum(folder: Path) -> str:
    """SHA-256 over the configs and the weights of a bundle, which its results depend on.

    Args:
        folder: the bundle.
    """
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("configs/*.json"), *folder.glob("models/*")]):
        if file.is_file():
            with file.open("rb") as content:
                digest.update(f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def bundle_provenance(
    action: str, folder: str | Path, options: Mapping[str, Any], checksum: str | None = None
) -> Provenance:
    """Describe how a bundle makes results.

    Args:
        action: what it does, a past participle such as ``denoised``.
        folder: the bundle.
        options: what was asked for and changes a result.
        checksum: see :func:`bundle_checksum`, where it is known.

    Returns:
        The description; options that leave the choice to the bundle are not in it.
    """
    folder = Path(folder)
    metadata = folder / "configs" / "metadata.json"
    described: dict[str, Any] = json.loads(metadata.read_text(encoding="utf-8")) if metadata.is_file() else {}
    chosen = {name: value for name, value in options.items() if value not in (None, False, "same", "auto")}
    return Provenance(
        action, __version__, folder.resolve().name, str(described.get("version", "")),
        checksum or bundle_checksum(folder), chosen,
    )  # fmt: skip


def check_device(name: str) -> None:
    """Make sure that there is a device, before the work starts.

    Args:
        name: ``auto`` or a name that PyTorch knows.

    Raises:
        OptionError: if there is none of this name; the message lists those there are.
    """
    there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    there += ["mps"] if torch.backends.mps.is_available() else []
    known = {"auto", *there, *({"cuda"} if len(there) > 1 and there[1] == "cuda:0" else ())}
    if name not in known:
        raise OptionError(f"There is no device {name!r}. Give auto, or one of {', '.join(there)}.")


def check_compiler(device: str) -> None:
    """Make sure that PyTorch can compile for a device, by compiling a little, and say what compiling does.

    Args:
        device: ``auto`` or a name that PyTorch knows.

    Raises:
        OptionError: if no compiler works.
    """
    is_cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    names = [name for name in (os.environ.get("CXX"), "g++", "clang++", "c++", "cl") if name]
    if is_cpu and not any(map(shutil.which, names)):
        raise OptionError("compile needs a C++ compiler such as g++ or clang++. Install one, or leave compile out.")
    if not is_cpu and not optional_import("triton")[1]:
        raise OptionError("compile needs triton on a GPU: pip install triton. Or leave compile out.")
    with compiler_errors(), torch.no_grad():
        place = torch.device("cpu" if is_cpu else "cuda" if device == "auto" else device)
        torch.compile(torch.nn.Softplus())(torch.zeros(8, device=place))
    logger.info("The network is compiled with the first windows, which takes minutes; then each is faster.")


@contextmanager
def compiler_errors() -> Iterator[None]:
    """Raise an error of this package, in one sentence, in the place of PyTorch's when it cannot compile."""
    try:
        yield
    except Exception as error:
        if "TorchDynamoException" not in [kind.__name__ for kind in type(error).__mro__]:  # its module loads slowly
            raise
        reason = " ".join(str(error).strip().split("\n")[0].split())
        raise OptionError(f"PyTorch cannot compile here ({reason[:200]}). Leave compile out.") from error


def bundle_root() -> str:
    """Folder of the bundle whose config asks for it, so that a bundle that was copied uses its own files.

    MONAI does not tell a config where it lies, but the workflow that evaluates the config knows, and is found among the
    callers.

    Returns:
        The folder; without a workflow, the current one if it is a bundle.

    Raises:
        MissingFileError: if there is neither.
    """
    workflow = calling_workflow()
    if workflow is not None:
        return str(Path(workflow.config_root_path).resolve().parent)
    if not Path("configs", "metadata.json").is_file():
        raise MissingFileError(
            "A config that no workflow runs does not know its bundle. Give the folder as bundle_root."
        )
    return str(Path.cwd())


def calling_workflow() -> ConfigWorkflow | None:
    """The workflow among the callers, which evaluates a config; None where there is none."""
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, ConfigWorkflow):
            return caller
        frame = frame.f_back
    return None


def show_causes() -> None:
    """Let errors of this package end a program with their own message, without what MONAI wraps around them."""
    shown = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        cause = _cause_of(error)
        if cause is None:
            shown(kind, error, trace)
        else:
            cause.__suppress_context__ = True
            shown(type(cause), cause.with_traceback(None), None)

    sys.excepthook = show


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raise the error of this package that lies under those that MONAI wraps around it."""
    try:
        yield
    except Exception as error:
        cause = _cause_of(error)
        if cause is None or cause is error:
            raise
        raise cause from None


def _cause_of(error: BaseException | None) -> StcnntError | None:
    """The error of this package that an error is, or was raised from."""
    while error is not None and not isinstance(error, StcnntError):
        error = error.__cause__ or error.__context__
    return error


@contextmanager
def expected_remarks() -> Iterator[None]:
    """Keep quiet about what is meant to be.

    That is: the bundle's own logging is not used, an older schema wants a key that MONAI has renamed, and one of
    MONAI's optional DICOM readers is not installed.
    """
    loggers = [logging.getLogger(name) for name in ("monai.bundle.workflows", "monai.data.nvimgcodec_pydicom_plugin")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected deprecated name 'optional_packages_version'", UserWarning)
            warnings.filterwarnings("ignore", "NvImgCodecPydicomReader", UserWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def bundle_work() -> Iterator[None]:
    """Surround the work of a bundle: :func:`plain_errors` and no :func:`expected_remarks`."""
    with plain_errors(), expected_remarks():
        yield


def open_inference(
    folder: Path,
    **overrides: Any,  # noqa: ANN401 - whatever the config has
) -> ConfigWorkflow:
    """Prepare the inference workflow of a bundle.

    Args:
        folder: the bundle.
        **overrides: entries of the config to replace.

    Returns:
        The workflow, initialized; its ``evaluator`` can be given handlers before ``run``.
    """
    configs = folder / "configs"
    workflow = ConfigWorkflow(
        config_file=str(configs / "inference.json"),
        meta_file=str(configs / "metadata.json"),
        logging_file=False,
        workflow_type="infer",
        bundle_root=str(folder),
        **overrides,
    )
    workflow.initialize()
    return workflow


def bfloat16_is_fast(device: torch.device | str) -> bool:
    """Whether the bundle's ``fast`` denoisers compute in bfloat16: on processors with instructions for it.

    There a network takes three quarters of the time. Its result changes by less than 0.03 noise levels, and the PSNR by
    less than 0.003 dB, because first guess and sums stay in float32. Without ``fast``, results do not depend on what
    the processor has.

    Args:
        device: where the network runs.
    """
    known: Mapping[str, Any] = (
        getattr(torch.cpu, "get_capabilities", dict)() if torch.device(device).type == "cpu" else {}
    )
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def windows_at_once(device: torch.device | str) -> int:
    """Number of windows to give to the network at once where nobody says.

    Args:
        device: where the network runs.

    Returns:
        1 on a processor, where more bring nothing and need memory; 8 elsewhere, where too many get fewer by themselves.
    """
    return 1 if torch.device(device).type == "cpu" else 8
