# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Lists of images with masks: the layouts of ACDC, M&Ms, MSD and nnU-Net, images beside labels, and MONAI's lists.

An item is ``{"image": path, "label": [paths], "frames": [frames] or None, "label_values": {value: class}}``, which
:class:`~monai_stcnnt.data.training.frame_labels.LoadFrameLabelsd` reads. ``frames`` counts from 0; None stands for the
frames in which the mask holds anything. Classes are those of ACDC: 0 background, 1 right ventricle, 2 myocardium, 3
left ventricle; M&Ms has the ventricles the other way round.

References:
    ACDC: Bernard et al., 2018, https://doi.org/10.1109/TMI.2018.2837502

    M&Ms: Campello et al., 2021, https://doi.org/10.1109/TMI.2021.3090082
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.data.decathlon_datalist import load_decathlon_datalist

from monai_stcnnt.data.formats.nifti_header import NIFTI_SUFFIXES
from monai_stcnnt.data.listing import list_series, series_datalist
from monai_stcnnt.data.paths import check_exists
from monai_stcnnt.data.training.drawn_structures import DRAWN_FILE, read_drawn_structures
from monai_stcnnt.errors import EmptyImageError, MissingFileError, SeriesMismatchError, UnreadableFileError

__all__ = ["MNMS_TO_ACDC", "acdc_datalist", "labelled_datalist", "mnms_datalist", "paired_datalist", "training_images"]

MNMS_TO_ACDC = {0: 0, 1: 3, 2: 2, 3: 1}
"""Label values of M&Ms (1 left ventricle, 2 myocardium, 3 right ventricle) to those of ACDC."""

Item = dict[str, Any]


def labelled_datalist(
    path: str | Path, section: str = "training", label_values: Mapping[int, int] | None = None
) -> list[Item]:
    """List images with masks, whatever the layout.

    Args:
        path: a folder in the layout of ACDC (``*_4d.nii.gz``), of M&Ms (``*_sa.nii.gz``), with the sub folders
            ``images`` and ``labels``, or ``imagesTr`` and ``labelsTr`` (Medical Segmentation Decathlon, nnU-Net); or a
            ``.json`` list of MONAI, ``{"training": [{"image": .., "label": ..}]}``, whose items may name ``frames``,
            such as the ``dataset.json`` of the Decathlon. nnU-Net's lists nothing, and stands for its folder.
        section: the section of a list file.
        label_values: value in the masks -> class, instead of the layout's own.

    Returns:
        The items.

    Raises:
        MissingFileError: for a path, mask or table that is not there.
        EmptyImageError: for a folder in none of these layouts.
        UnreadableFileError: for a list or table that cannot be read.
    """
    path = check_exists(path)
    if path.is_file():
        items = _listed(path, section)
    elif (path / "imagesTr").is_dir():
        items = paired_datalist(path / "imagesTr", path / "labelsTr")
    elif _find(path, "_4d"):
        items = acdc_datalist(path)
    elif _find(path, "_sa"):
        items = mnms_datalist(path)
    elif (path / "images").is_dir():
        items = paired_datalist(path / "images", path / "labels")
    else:
        raise EmptyImageError(
            f"{path} is in none of the layouts that are known: ACDC (*_4d.nii.gz), M&Ms (*_sa.nii.gz), or the sub "
            "folders images and labels, or imagesTr and labelsTr. Check the folder, or give a list file (.json)."
        )
    if label_values is not None:
        for item in items:
            item["label_values"] = {int(value): int(label) for value, label in label_values.items()}
    return items


def training_images(path: str | Path, section: str = "training") -> list[dict[str, str]]:
    """List the images below a path to train a denoiser on: no masks, and no results of this package.

    Args:
        path: a file or folder of images; of a folder with masks, as :func:`labelled_datalist` takes it, the images are
            taken. A ``.json`` list of MONAI, such as ``dataset.json``, may lack the masks.
        section: the section of a list file.

    Returns:
        One ``{"image": path}`` per image.

    Raises:
        MissingFileError: for a path that is not there.
        EmptyImageError: for a folder without images.
        UnreadableFileError: for a list that cannot be read.
    """
    path = check_exists(path)
    if path.suffix == ".json" and not _lists_nothing(path):
        try:
            rows = load_decathlon_datalist(str(path), False, section, path.parent)
            return [{"image": str(check_exists(row["image"]))} for row in rows]
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableFileError(f"{path} is not a list of images under {section!r}: {error}.") from error
    root = path.parent if path.suffix == ".json" else path
    for images, labels in (("imagesTr", "labelsTr"), ("images", "labels")):
        if (root / images).is_dir() and (root / labels).is_dir():
            root = root / images
    items = series_datalist(root, skip=("denoised", "segmented"))
    items = [item for item in items if not _stem(Path(item["image"])).endswith("_gt")]
    if not items:
        raise EmptyImageError(f"{path} holds nothing but masks and results of this package. Give the images.")
    return items


def acdc_datalist(root: str | Path) -> list[Item]:
    """List a folder in the layout of ACDC.

    A patient is a folder with ``NAME_4d.nii.gz``, masks ``NAME_frameNN_gt.nii.gz`` (NN counts from 1), and
    ``Info.cfg``, whose lines ``ED: NN`` and ``ES: NN`` say which masks there have to be. More masks are taken too. A
    file ``labelled.json`` beside them says what was drawn where; the item then has the entry ``drawn``, see
    :func:`~monai_stcnnt.data.training.drawn_structures.read_drawn_structures`.

    Args:
        root: the folder; patients may lie in sub folders such as ``training``.

    Returns:
        One item per patient, in alphabetical order.

    Raises:
        MissingFileError: if the folder, or a patient's mask, is missing.
        EmptyImageError: if there is no patient.
        UnreadableFileError: if an Info.cfg names no frames.
    """
    images = _find(check_exists(root), "_4d")
    if not images:
        raise EmptyImageError(f"{root} holds no patient in the layout of ACDC (NAME/NAME_4d.nii.gz).")
    return [_acdc_item(image) for image in images]


def _acdc_item(image: Path) -> Item:
    stem = _stem(image).removesuffix("_4d")
    pattern = re.compile(re.escape(stem) + r"_frame(\d+)_gt$")
    masks = {int(m[1]): file for file in sorted(image.parent.iterdir()) if (m := pattern.match(_stem(file)))}
    needed = _info_frames(image.parent / "Info.cfg")
    missing = [n for n in needed if n not in masks]
    if missing or not masks:
        name = f"{stem}_frame{(missing or [1])[0]:02d}_gt.nii.gz"
        raise MissingFileError(
            f"{image.parent} has no mask {name}{', which Info.cfg asks for' if missing else ''}. Add it, or leave the "
            "patient out."
        )
    frames = sorted(masks)
    item = _item(image, [masks[n] for n in frames], [n - 1 for n in frames], {n: n for n in range(4)})
    drawn = image.parent / DRAWN_FILE
    return {**item, "drawn": read_drawn_structures(drawn)} if drawn.is_file() else item


def _info_frames(info: Path) -> list[int]:
    """Frames, counted from 1, that an Info.cfg names; none where there is no such file."""
    if not info.is_file():
        return []
    text = info.read_text(encoding="utf-8", errors="replace")
    found = {key: int(n) for key, n in re.findall(r"^\s*(ED|ES)\s*[:=]\s*(\d+)\s*$", text, re.MULTILINE)}
    if not found:
        raise UnreadableFileError(f"{info} names no frames. It needs lines such as 'ED: 1' and 'ES: 12'.")
    return sorted(set(found.values()))


def mnms_datalist(root: str | Path, table: str | Path | None = None) -> list[Item]:
    """List a folder in the layout of M&Ms.

    A patient is a folder with ``ID_sa.nii.gz`` and ``ID_sa_gt.nii.gz`` (4-D), and a row of the table, whose columns
    ``External code``, ``ED`` and ``ES`` (frames, counted from 0) say which frames of the mask are filled.

    Args:
        root: the folder; patients may lie in sub folders. Leave out the part without masks.
        table: the CSV file; by default the only one in the folder or in one of the two folders above.

    Returns:
        One item per patient, in alphabetical order, with the label values turned into those of ACDC.

    Raises:
        MissingFileError: if the folder, the table, a patient's row or a patient's mask is missing.
        EmptyImageError: if there is no patient.
        UnreadableFileError: if the table lacks a column, or a frame in it is not a number.
    """
    folder = check_exists(root)
    images = _find(folder, "_sa")
    if not images:
        raise EmptyImageError(f"{root} holds no patient in the layout of M&Ms (ID/ID_sa.nii.gz).")
    csv_file = check_exists(table) if table is not None else _only_table(folder)
    phases = _read_phases(csv_file)
    items = []
    for image in images:
        code = _stem(image).removesuffix("_sa")
        if code not in phases:
            raise MissingFileError(f"{csv_file} has no row for {code}, but there is {image}. Add it, or leave it out.")
        items.append(_item(image, [_mask_beside(image)], phases[code], MNMS_TO_ACDC))
    return items


def _mask_beside(image: Path) -> Path:
    for suffix in NIFTI_SUFFIXES:
        mask = image.with_name(f"{_stem(image)}_gt{suffix}")
        if mask.is_file():
            return mask
    raise MissingFileError(f"{image} has no mask {_stem(image)}_gt.nii.gz beside it. Add it, or leave the patient out.")


def _only_table(folder: Path) -> Path:
    places = [folder, *folder.resolve().parents[:2]]
    for place in places:
        tables = sorted(place.glob("*.csv"))
        if len(tables) == 1:
            return tables[0]
        if tables:
            raise MissingFileError(f"{place} holds {len(tables)} CSV files; say which one names the phases.")
    raise MissingFileError(f"No CSV file with the phases (External code, ED, ES) in {folder} or the two folders above.")


def _read_phases(table: Path) -> dict[str, list[int]]:
    """Code of a patient -> frames with a mask, from 0."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        return {row["External code"].strip(): sorted({int(row["ED"]), int(row["ES"])}) for row in rows}
    except (KeyError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise UnreadableFileError(
            f"{table} cannot be read: {error!r}. It needs the columns External code, ED and ES, with frames from 0."
        ) from error


def paired_datalist(images: str | Path, labels: str | Path) -> list[Item]:
    """List a folder of images and a folder of masks with the same names, but for nnU-Net's ``_0000`` after the image's.

    Args:
        images: folder of images, see :func:`~monai_stcnnt.data.listing.list_series`.
        labels: folder of NIfTI masks; a file without time axis is the mask of an image without one.

    Returns:
        One item per image. The labelled frames are those in which the mask holds anything.

    Raises:
        MissingFileError: if a folder or a mask is missing.
        EmptyImageError: if there is no image.
        SeriesMismatchError: if an image has several of nnU-Net's channels, which are images of their own.
    """
    root, masks = check_exists(images), check_exists(labels)
    items: list[dict[str, Any]] = []
    for image in list_series(root):
        folder, stem = masks / image.relative_to(root).parent, _stem(image)
        case = re.sub(r"_\d{4}$", "", stem)
        names = [f"{name}{suffix}" for name in dict.fromkeys((stem, case)) for suffix in NIFTI_SUFFIXES]
        found = [mask for name in names if (mask := folder / name).is_file()]
        if not found:
            raise MissingFileError(f"{image} has no mask {folder / case}.nii.gz. Add it, or leave it out.")
        if any(item["label"] == [str(found[0])] for item in items):
            raise SeriesMismatchError(
                f"{found[0]} is the mask of several channels, such as {image.name}. Keep one channel of each image."
            )
        items.append(_item(image, found[:1], None, None))
    return items


def _lists_nothing(path: Path) -> bool:
    """Whether a file is the ``dataset.json`` of nnU-Net, which stands for its folder."""
    return path.name == "dataset.json" and '"training"' not in path.read_text(encoding="utf-8")


def _listed(path: Path, section: str) -> list[Item]:
    if _lists_nothing(path):
        return paired_datalist(path.parent / "imagesTr", path.parent / "labelsTr")
    try:
        rows = load_decathlon_datalist(str(path), is_segmentation=True, data_list_key=section, base_dir=path.parent)
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableFileError(
            f"{path} is not a list of images with masks under {section!r}: {error}. "
            'It looks like {"training": [{"image": "a.nii.gz", "label": "a_gt.nii.gz", "frames": [0, 8]}]}.'
        ) from error
    items = []
    for row in rows:
        if not row.get("image") or not row.get("label"):
            raise UnreadableFileError(f"{path}: the item {row} needs an image and a label.")
        labels = row["label"] if isinstance(row["label"], list) else [row["label"]]
        frames = row.get("frames")
        values = row.get("label_values")
        items.append(
            _item(
                check_exists(row["image"]),
                [check_exists(label) for label in labels],
                None if frames is None else [int(n) for n in frames],
                None if values is None else {int(value): int(label) for value, label in values.items()},
            )
        )
    return items


def _item(
    image: Path, labels: Sequence[Path], frames: list[int] | None, label_values: Mapping[int, int] | None
) -> Item:
    return {
        "image": str(image),
        "label": [str(label) for label in labels],
        "frames": frames,
        "label_values": None if label_values is None else dict(label_values),
    }


def _find(root: Path, ending: str) -> list[Path]:
    """NIfTI files below a folder whose name ends in ``ending`` and one of the suffixes."""
    found = [file for suffix in NIFTI_SUFFIXES for file in root.rglob(f"*{ending}{suffix}")]
    return sorted(file for file in found if not any(p.startswith(".") for p in file.relative_to(root).parts))


def _stem(file: Path) -> str:
    """Name without the NIfTI suffix."""
    for suffix in NIFTI_SUFFIXES:
        if file.name.lower().endswith(suffix):
            return file.name[: -len(suffix)]
    return file.stem
