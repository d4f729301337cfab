# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""How a process handles memory that it has freed."""

from __future__ import annotations

import ctypes
import os
import platform

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of options in malloc.h
_LARGEST_THRESHOLD = 2**25
_USERS_OWN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TOP_PAD_")


def keep_freed_memory(most: int | None = 2**30) -> bool:
    """Let this process keep what it frees, for its next tensors, instead of giving it back and asking again.

    The system clears every page that it hands out, which takes an eighth of the time of a large network on a CPU. Only
    blocks above 32 MB are still asked for one by one, and only where nothing that was freed is large enough. The
    commands and the engines call this when they start; a program of yours that runs networks on a CPU may do so too. It
    holds for the whole process, which is why importing this package does not do it.

    Args:
        most: bytes at the end of what the process has that it may keep; None keeps everything.

    Returns:
        Whether anything was set: only with glibc (Linux), and not where the environment already says what to do
        (``MALLOC_TRIM_THRESHOLD_`` and its like, ``GLIBC_TUNABLES``, or another allocator in ``LD_PRELOAD``).

    See Also:
        mallopt(3), https://man7.org/linux/man-pages/man3/mallopt.3.html.
    """
    told = any(name in os.environ for name in (*_USERS_OWN, "LD_PRELOAD"))
    if told or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    trim = -1 if most is None else min(most, 2**31 - 1)
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_THRESHOLD) and mallopt(_TRIM_THRESHOLD, trim))
