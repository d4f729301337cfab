# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Memory that a process keeps: fewer pages are asked for anew, and what the user set stays."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

__all__: list[str] = []

PROGRAM = """
import resource
import numpy as np
from monai_stcnnt.memory import keep_freed_memory
kept = {call}
def step():
    parts = [np.ones(2**21) for _ in range(8)]
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    step()
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages(call: str, **settings: str) -> tuple[bool, int]:
    """Whether memory is kept, and pages that a program asks for which needs the same memory again and again."""
    own = {n: v for n, v in os.environ.items() if not n.startswith("MALLOC_") and n not in ("GLIBC_TUNABLES",)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(call=call)],
        env={**own, **settings}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    kept, count = done.stdout.split()
    return bool(int(kept)), int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_a_process_asks_for_its_memory_once() -> None:
    system, kept = pages("False"), pages("keep_freed_memory()")
    assert kept[0]
    assert kept[1] < 0.05 * system[1]
    assert pages("keep_freed_memory(None)")[1] < 0.05 * system[1]


def large_pages_can_be_asked_for() -> bool:
    """Whether the system gives large pages to a program that asks for them."""
    choice = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return platform.libc_ver()[0] == "glibc" and choice.is_file() and "[madvise]" in choice.read_text()


@pytest.mark.skipif(not large_pages_can_be_asked_for(), reason="this system has no large pages, or gives them to all")
@pytest.mark.parametrize("most", [2**30, None])
def test_what_is_kept_lies_in_large_pages(most: int | None) -> None:
    program = f"""
from pathlib import Path
import numpy as np
from monai_stcnnt.memory import keep_freed_memory
def large():
    return sum(int(line.split()[1]) for line in Path("/proc/self/smaps").read_text().splitlines() if "AnonHuge" in line)
before = large()
keep_freed_memory({most})
assert large() == before  # nothing is taken that nothing needs
parts = [np.ones(2**21) for _ in range(16)]
print(large() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert int(done.stdout) > 0.9 * 16 * 2**21 * 8 / 1024


@pytest.mark.parametrize(
    "settings", [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"}]
)
def test_what_the_user_set_stays(settings: dict[str, str]) -> None:
    assert not pages("keep_freed_memory()", **settings)[0]
