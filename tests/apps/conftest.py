# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Programs set up logging for their own process; every test puts it back."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

SET_UP = (None, "monai_stcnnt", "monai_stcnnt.data.writer", "ignite", "monai")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in SET_UP]
    handlers, levels = loggers[0].handlers[:], [logger.level for logger in loggers]
    yield
    loggers[0].handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
