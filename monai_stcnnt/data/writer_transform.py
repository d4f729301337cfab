# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The dictionary form of what saves series, for the end of a bundle's postprocessing."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from monai.config.type_definitions import KeysCollection
from monai.transforms.io.dictionary import SaveImaged
from monai.transforms.transform import MapTransform

from monai_stcnnt.data.formats.base import OutputDtype
from monai_stcnnt.data.formats.registry import OutputFormat
from monai_stcnnt.data.provenance import Provenance
from monai_stcnnt.data.writer import ResultKeeper, SaveSeries
from monai_stcnnt.errors import OptionError

__all__ = ["SaveImageSeriesd"]


class SaveImageSeriesd(SaveImaged):
    """Dictionary form of :class:`SaveSeries`.

    MONAI Label and the Deploy SDK leave out what saves, which they tell by MONAI's class and by the name.

    Args:
        keys: keys of the images to save; several keys need a suffix each.
        output_dir: folder of the results.
        input_root: the file or folder that the images were listed from.
        suffix: what to add to the name, one for all keys or one per key.
        dtype: type of the voxels in a NIfTI file.
        output_format: ``"same"``, ``"nifti"``, ``"dicom_seg"`` or ``"dicom_seg_per_frame"``.
        allow_missing_keys: pass over keys that are absent.
        uid_seed: see :class:`SaveSeries`.
        class_names: makes the images masks, see :class:`SaveSeries`.
        algorithm_version: version of what made the masks.
        output_file: see :class:`SaveSeries`; for one key.
        provenance: see :class:`SaveSeries`.
        keeper: see :class:`SaveSeries`.

    Raises:
        OptionError: if an option is unknown, or several keys would go to one file.
        OutputNotWritableError: if the folder cannot be written to.
    """

    backend = SaveSeries.backend

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        input_root: str | Path | None = None,
        suffix: str | tuple[str, ...] | list[str] = "denoised",
        dtype: OutputDtype = "float32",
        output_format: OutputFormat = "same",
        allow_missing_keys: bool = False,
        uid_seed: str | None = None,
        *,
        class_names: Mapping[int, str] | Mapping[str, str] | None = None,
        algorithm_version: str = "unspecified",
        output_file: str | Path | None = None,
        provenance: Provenance | None = None,
        keeper: ResultKeeper | None = None,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)  # all that is of use of the base
        suffixes = (suffix,) if isinstance(suffix, str) else tuple(suffix)
        if len(suffixes) != len(self.keys) or len(set(suffixes)) != len(suffixes):
            raise OptionError(f"{len(self.keys)} keys need as many different suffixes, not {suffixes}.")
        if output_file is not None and len(suffixes) > 1:
            raise OptionError(f"{len(self.keys)} keys do not go to one file {output_file}.")
        self.savers = [
            SaveSeries(
                output_dir,
                input_root,
                s,
                dtype,
                output_format,
                uid_seed,
                class_names=class_names,
                algorithm_version=algorithm_version,
                output_file=output_file,
                provenance=provenance,
                keeper=keeper,
            )
            for s in suffixes
        ]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Save every key.

        Args:
            data: images ``(C, X, Y[, Z[, T]])`` by key.

        Returns:
            The same dictionary.
        """
        d = dict(data)
        for key, saver in self.key_iterator(d, self.savers):
            d[key] = saver(d[key])
        return d
