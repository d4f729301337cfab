# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Denoised MRD images: new pixels under the header that came, and a note among the attributes."""

from __future__ import annotations

from dataclasses import replace
from html import escape

import numpy as np

from monai_stcnnt.data.formats.mrd.images import MrdImage

__all__ = ["add_attributes", "annotated"]

_EMPTY = '<?xml version="1.0" encoding="UTF-8"?>\n<ismrmrdMeta></ismrmrdMeta>'
_END = "</ismrmrdMeta>"


def add_attributes(text: str, **values: str) -> str:
    """Add meta attributes behind those that are there, which stay as they are to the letter.

    Args:
        text: XML of the standard's ``ismrmrdMeta``, or nothing.
        **values: value by name. A name that is there already gets one more value, as the standard allows.

    Returns:
        The longer text; the same text where it is no such XML.
    """
    before = text if text.strip() else _EMPTY
    before = before.replace("<ismrmrdMeta/>", "<ismrmrdMeta></ismrmrdMeta>")
    head, end, tail = before.rpartition(_END)
    if not end:
        return text
    added = "".join(f"<meta><name>{n}</name><value>{escape(v)}</value></meta>" for n, v in values.items())
    return f"{head}{added}{end}{tail}"


def annotated(image: MrdImage, comment: str, pixels: np.ndarray | None = None) -> MrdImage:
    """Give an image new pixels and a comment.

    Args:
        image: as it came.
        comment: what was done, for the attribute ``ImageComments``, which becomes DICOM's Image Comments.
        pixels: of the same type and size; None to keep them.

    Returns:
        The image. Its header is the same but for the length of the attributes, where that was kept before.
        ``Keep_image_geometry`` is set, without which some scanners mirror what comes back.
    """
    values = {"ImageComments": comment}
    if image.attribute("Keep_image_geometry") != "1":
        values["Keep_image_geometry"] = "1"
    if pixels is not None:
        values["ImageProcessingHistory"] = "stcnnt"
    attributes = add_attributes(image.attributes, **values)
    header = image.header
    if int(header["attribute_string_len"]) == len(image.attributes.encode("utf-8")):
        header = header.copy()
        header["attribute_string_len"] = len(attributes.encode("utf-8"))
    return replace(image, header=header, attributes=attributes, pixels=image.pixels if pixels is None else pixels)
