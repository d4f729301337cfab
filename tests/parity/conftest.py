# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Print how many fixtures of each kind matched, depart by the rules, or are left out."""

from __future__ import annotations

from collections import Counter

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seen = {
        (report.nodeid, value)
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", [])
        if name == "parity"
    }
    counts = Counter(str(value) for _, value in seen)
    if counts:
        terminalreporter.section("parity with the published numbers")
    for kind in sorted({value.split()[0] for value in counts}):
        row = [f"{counts[f'{kind} {s}']} {s}" for s in ("match", "departure", "skip") if counts[f"{kind} {s}"]]
        terminalreporter.line(f"{kind}: {', '.join(row)}")
