# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What to read and where to write: lists of series, data lists for MONAI, names of output files."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from pathlib import Path

from monai_stcnnt.data.formats import registry
from monai_stcnnt.data.formats.registry import can_read, format_of, known_formats
from monai_stcnnt.data.paths import check_exists, folders_below
from monai_stcnnt.errors import EmptyImageError, GFactorMapError, NotAnImageError, OutputNotWritableError

__all__ = ["check_result_name", "gfactor_map_of", "list_series", "output_path", "series_datalist"]

logger = logging.getLogger(__name__)

_OTHER_FILES = (
    ".csv", ".dcm", ".gif", ".gz", ".html", ".ima", ".img", ".jpeg", ".jpg", ".json", ".mat", ".pdf", ".png", ".pt",
    ".rec", ".tif", ".tiff", ".txt", ".yaml", ".zip",
)  # fmt: skip
"""Endings of files that results are not, and that nobody means a folder by."""


def list_series(path: str | Path) -> list[Path]:
    """List the images in a file or folder.

    A folder that itself holds DICOM files, or a NumPy pair, is one entry; DICOM files in sub folders of such a folder
    belong to it.

    Args:
        path: a file, which is its own list, or a folder, which is searched with its sub folders. Names that start
            with a dot are skipped, and so are files of other kinds.

    Returns:
        Paths in alphabetical order, the same on every machine.

    Raises:
        MissingFileError: if there is no such file or folder.
        NotAnImageError: if it is a file of another kind.
        EmptyImageError: if the folder holds no image.
    """
    path = check_exists(path)
    if path.is_file():
        if not can_read(path):
            raise NotAnImageError(f"{path} is not an image of a known format. Give one of {known_formats()}.")
        return [path]
    found: set[Path] = set()
    nested: set[Path] = set()
    for folder, names in folders_below(path):
        for row in registry.FORMATS:
            if row is not registry.FOLDERS:
                found.update(row.entries_in(folder, names))
            elif nested.isdisjoint(folder.parents):
                nested.update(row.entries_in(folder, names))
    found |= nested
    if not found:
        raise EmptyImageError(f"{path} holds no image. Check the folder; known are {known_formats()}.")
    return sorted(found, key=lambda file: file.relative_to(path).parts)


def series_datalist(
    path: str | Path, gmap: str | Path | None = None, skip: Collection[str] = ()
) -> list[dict[str, str]]:
    """Make the list of items that MONAI's data sets take.

    Args:
        path: a file or folder of images, see :func:`list_series`.
        gmap: the g-factor map of all images, or a folder with a map for each, under the image's own relative name.
        skip: images of a folder to leave out, by what this package did to make them, such as ``denoised``; the log says
            so.

    Returns:
        One ``{"image": path}`` per image, with ``"gmap": path`` where maps are given.

    Raises:
        GFactorMapError: if an image has no map in the folder of maps.
        MissingFileError: and the other errors of :func:`list_series`.
    """
    root = check_exists(path)
    images = list_series(root)
    if root.is_dir() and skip:
        images = [image for image in images if not _is_made(image, skip)]
    items = [{"image": str(image)} for image in images]
    if gmap is None:
        return items
    for item, image in zip(items, images, strict=True):
        item["gmap"] = str(gfactor_map_of(image, root, gmap))
    return items


def _is_made(image: Path, actions: Collection[str]) -> bool:
    """Whether this package made all images at a path by one of these actions; the log says so."""
    row = format_of(image)
    if row is None:
        return False
    made = {one.made for one in row.list(image, check=False)} if row.holds_several else {row.made_by(image)}
    if made <= {*actions}:
        logger.info("%s is skipped: it was %s by this package.", image, " and ".join(sorted(made)))
        return True
    return False


def output_path(
    input_file: str | Path,
    input_root: str | Path,
    output_dir: str | Path,
    suffix: str = "_denoised",
    extension: str | None = None,
) -> Path:
    """Name the output of an image: same sub folder, same name with a suffix, same format.

    Different images below one root never get the same name while they keep their extension, and none leaves the output
    folder or is the input itself.

    Args:
        input_file: the image.
        input_root: the file or folder that was given to :func:`list_series`.
        output_dir: folder of the results.
        suffix: what to add to the name; ``"denoised"`` and ``"_denoised"`` are the same.
        extension: in place of the image's own, such as ``".nii.gz"``; folders and DICOM files have none.

    Returns:
        The path to write to; nothing is made on disk.

    Raises:
        OutputNotWritableError: if the image is not below the root, the suffix is not part of a name, a link leads out
            of the output folder, or the output would replace the image.
    """
    file, root, out = (Path(os.path.abspath(Path(p).expanduser())) for p in (input_file, input_root, output_dir))
    root = root.parent if root == file else root
    if not file.is_relative_to(root):
        raise OutputNotWritableError(f"{file} is not below {root}, so its place below {out} is unknown.")
    for part in (suffix, extension or ""):
        if any(character in part for character in ("/", "\\", "\0")):
            raise OutputNotWritableError(f"{part!r} cannot be part of a file name. Choose a suffix such as 'denoised'.")
    relative = file.relative_to(root)
    stem, own_extension = _split_name(relative.name)
    ending = f"_{suffix.lstrip('_')}" if suffix.strip("_") else ""
    target = out / relative.parent / f"{stem}{ending}{own_extension if extension is None else extension}"
    if not Path(os.path.realpath(target.parent)).is_relative_to(os.path.realpath(out)):
        raise OutputNotWritableError(f"{target.parent} is a link that leads out of {out}. Remove it.")
    if os.path.realpath(target) == os.path.realpath(file):
        raise OutputNotWritableError(f"{target} is the input itself. Choose another output folder, or a suffix.")
    return target


def check_result_name(path: str | Path) -> None:
    """Make sure, before the work starts, that a result can have a name.

    Args:
        path: the file or folder to be; an existing folder may have any name.

    Raises:
        OutputNotWritableError: if its ending is that of a format that is only read, or of a file that is no image.
    """
    path = Path(path)
    row = registry.format_for(path)
    is_other = row is registry.FOLDERS and path.suffix.lower() in _OTHER_FILES
    if path.is_dir() or (row.is_written and not is_other):
        return
    endings = ", ".join(ending for each in registry.FORMATS if each.is_written for ending in each.extensions)
    raise OutputNotWritableError(
        f"{path} is not a valid name for a result. Give a folder, also for DICOM, or a name that ends in one of "
        f"{endings}."
    )


def _split_name(name: str) -> tuple[str, str]:
    """Split a file name into stem and extension, ``.nii.gz`` being one extension."""
    for extension in _extensions():
        if name.lower().endswith(extension) and len(name) > len(extension):
            return name[: -len(extension)], name[-len(extension) :]
    return name, ""


def _extensions() -> list[str]:
    """Endings of all formats, the longest first."""
    return sorted((extension for row in registry.FORMATS for extension in row.extensions), key=len, reverse=True)


def gfactor_map_of(image: Path, root: Path, gmap: str | Path) -> Path:
    """Find the g-factor map of an image.

    Args:
        image: the image.
        root: the file or folder that it was listed from.
        gmap: the map of all images, or a folder with a map for each, under the image's own relative name.

    Returns:
        The map.

    Raises:
        GFactorMapError: if there is none.
        MissingFileError: if ``gmap`` does not exist.
    """
    maps = check_exists(gmap)
    if format_of(maps) is not None:
        return maps
    relative = Path(image.name) if image == root else image.relative_to(root)
    stem = _split_name(relative.name)[0]
    for name in (relative.name, *(stem + extension for extension in _extensions())):
        candidate = maps / relative.parent / name
        if candidate.exists():
            return candidate
    raise GFactorMapError(f"{image} has no g-factor map {maps / relative}. Add it, or give one map for all images.")
