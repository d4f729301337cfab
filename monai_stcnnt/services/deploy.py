# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""An application of MONAI Deploy: a DICOM folder in, derived series or segmentations out.

``python -m monai_stcnnt.services.deploy -i DICOM -o RESULTS`` runs it; ``containers/deploy`` holds what
``monai-deploy package`` wants. The SDK is no extra of this package: it brings CUDA with it, and is imported when the
application starts. ``STCNNT_TASK=segment`` in the environment segments cines; the default is to denoise.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from monai_stcnnt.errors import MissingPackageError, OptionError

__all__ = ["TASKS", "main", "make_application"]

TASKS = ("denoise", "segment")


def make_application(sdk: Any, task: str = "denoise") -> type:  # noqa: ANN401 - classes of the SDK
    """Make the application on top of the SDK.

    Args:
        sdk: something with the SDK's ``Application``, ``Operator`` and ``CountCondition``.
        task: ``denoise`` or ``segment``.

    Returns:
        A class derived from the SDK's ``Application``.

    Raises:
        OptionError: if the task is another one.
    """
    if task not in TASKS:
        raise OptionError(f"The task {task!r} is not one of {', '.join(TASKS)}.")

    class ReadFolder(sdk.Operator):
        """Hands on the folder of DICOM files that the application was started with."""

        def __init__(self, fragment: Any, *arguments: Any, folder: Path, **named: Any) -> None:  # noqa: ANN401
            self.folder = folder
            super().__init__(fragment, *arguments, **named)

        def setup(self, spec: Any) -> None:  # noqa: ANN401
            spec.output("folder")

        def compute(self, op_input: Any, op_output: Any, context: Any) -> None:  # noqa: ANN401, ARG002
            op_output.emit(str(self.folder), "folder")

    class Work(sdk.Operator):
        """Denoises or segments every series of a folder."""

        def __init__(self, fragment: Any, *arguments: Any, results: Path, **named: Any) -> None:  # noqa: ANN401
            self.results = results
            super().__init__(fragment, *arguments, **named)

        def setup(self, spec: Any) -> None:  # noqa: ANN401
            spec.input("folder")

        def compute(self, op_input: Any, op_output: Any, context: Any) -> None:  # noqa: ANN401, ARG002
            _work(Path(op_input.receive("folder")), self.results, task)

    class StcnntApplication(sdk.Application):
        """The application."""

        def compose(self) -> None:
            context = sdk.Application.init_app_context(self.argv)
            read = ReadFolder(self, sdk.CountCondition(self, 1), folder=Path(context.input_path), name="read_folder")
            work = Work(self, results=Path(context.output_path), name=task)
            self.add_flow(read, work, {("folder", "folder")})

    return StcnntApplication


def _work(folder: Path, results: Path, task: str) -> None:
    """Work on a folder; results lie flat in one folder for each series."""
    from monai_stcnnt.apps import denoise, segment
    from monai_stcnnt.apps.batch.manifest import MANIFEST

    work = segment if task == "segment" else denoise
    work(folder, results, progress=False)
    (results / MANIFEST).unlink(missing_ok=True)


def main() -> None:
    """Run the application with the arguments of the SDK's own command line.

    Raises:
        MissingPackageError: if the SDK is not installed.
    """
    try:
        core, conditions = (importlib.import_module(f"monai.deploy.{name}") for name in ("core", "conditions"))
    except ImportError as error:
        raise MissingPackageError(
            "This needs MONAI Deploy's SDK for your CUDA: pip install monai-deploy-app-sdk."
        ) from error
    sdk = SimpleNamespace(
        Application=core.Application, Operator=core.Operator, CountCondition=conditions.CountCondition
    )
    make_application(sdk, os.environ.get("STCNNT_TASK", "denoise"))().run()


if __name__ == "__main__":
    main()
