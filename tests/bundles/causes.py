# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Bundles as MONAI runs them, and the error of this package below those that MONAI wraps around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from monai_stcnnt.apps.bundles import expected_remarks
from monai_stcnnt.errors import StcnntError

__all__ = ["cause_of", "run"]


def cause_of(error: BaseException) -> StcnntError:
    """Follow the causes of an error down to the first of this package."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, StcnntError):
        cause = cause.__cause__ or cause.__context__
    assert isinstance(cause, StcnntError)
    return cause


def run(folder: Path, **overrides: Any) -> ConfigWorkflow:  # noqa: ANN401
    """As ``monai.bundle run`` does: nothing but the config file tells where the bundle is."""
    with expected_remarks():
        workflow = ConfigWorkflow(
            str(folder / "configs" / "inference.json"), logging_file=False, workflow_type="infer", progress=False,
            **overrides,
        )  # fmt: skip
        workflow.initialize()
        workflow.run()
    return workflow
