# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""How a process handles memory that it has freed."""

from __future__ import annotations

import ctypes
import os
import platform

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # names of options in malloc.h
_LARGEST_THRESHOLD, _BLOCKS_OF_THEIR_OWN = 2**25, 2**16  # the largest that is taken, and the default
_MADV_HUGEPAGE = 14  # its name in linux/mman.h
_USERS_OWN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TOP_PAD_")


def keep_freed_memory(most: int | None = 2**30) -> bool:
    """Let this process keep what it frees, for its next tensors, in large pages, instead of asking for it again.

    The system clears every page that it hands out, which takes an eighth of the time of a large network on a CPU, and
    small pages are slow to look up. Blocks above 32 MB are still asked for one by one, where nothing that was freed is
    large enough. The commands and the engines call this when they start; a program of yours that runs networks on a
    CPU may do so too. It holds for the whole process, which is why importing this package does not do it.

    Args:
        most: bytes at the end of what the process has that it may keep; None keeps everything.

    Returns:
        Whether anything was set: only with glibc (Linux), and not where the environment already says what to do
        (``MALLOC_TRIM_THRESHOLD_`` and its like, ``GLIBC_TUNABLES``, or another allocator in ``LD_PRELOAD``). Large
        pages come only where the system lets programs ask for them.

    See Also:
        mallopt(3), https://man7.org/linux/man-pages/man3/mallopt.3.html; madvise(2),
        https://man7.org/linux/man-pages/man2/madvise.2.html.
    """
    told = any(name in os.environ for name in (*_USERS_OWN, "LD_PRELOAD"))
    if told or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    trim = -1 if most is None else min(most, 2**31 - 1)
    done = bool(library.mallopt(_MMAP_THRESHOLD, _LARGEST_THRESHOLD) and library.mallopt(_TRIM_THRESHOLD, trim))
    if done:
        _ask_for_large_pages(library, 2**30 if most is None else most // 2)  # all of it would be given back at once
    return done


def _ask_for_large_pages(library: ctypes.CDLL, size: int) -> None:
    """Extend the heap by addresses for ``size`` bytes, which take no memory yet and are to come in large pages."""
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
    library.free.argtypes = (ctypes.c_void_p,)
    library.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    library.mallopt(_MMAP_MAX, 0)
    start = library.malloc(size)
    library.mallopt(_MMAP_MAX, _BLOCKS_OF_THEIR_OWN)
    if start is None:  # a limit on addresses: the heap then grows in small pages
        return
    page = os.sysconf("SC_PAGE_SIZE")
    first = -(-start // page) * page
    library.madvise(first, (start + size - first) // page * page, _MADV_HUGEPAGE)
    library.free(start)
