# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The one door from services to the networks: a record in, a denoised one out, as ``stcnnt denoise`` has it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_stcnnt.apps.bundles import bundle_folder, bundle_work, open_inference
from monai_stcnnt.apps.denoising import DenoiseOptions
from monai_stcnnt.data.content import check_image
from monai_stcnnt.data.record import SeriesRecord
from monai_stcnnt.data.slabs import IN_MEMORY, MemorySlabs
from monai_stcnnt.data.writer import SaveSeries
from monai_stcnnt.engines.series_frames import SeriesFrames, estimate_series_noise
from monai_stcnnt.engines.streamed_denoising import StreamedDenoiser, denoise_series
from monai_stcnnt.transforms import NoiseOptions

__all__ = ["DenoiserOptions", "RecordDenoiser"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DenoiserOptions:
    """How a service denoises.

    Attributes:
        strength: factor on the noise level that the network is told.
        self_ensemble: average over mirror images.
        noise_sigma: noise standard deviation per component; None to estimate it.
        bundle: folder of the bundle; the one that this package carries by default.
        device: ``auto``, ``cpu``, ``cuda``, ...
        save_uncertainty: find the standard error of results too, see :meth:`RecordDenoiser.with_errors`.
    """

    strength: float = 1.0
    self_ensemble: bool = False
    noise_sigma: float | None = None
    bundle: str | Path | None = None
    device: str = "auto"
    save_uncertainty: bool = False


class RecordDenoiser:
    """The denoising bundle, loaded once, for records in memory; calls from several threads wait for each other.

    Args:
        options: how to denoise.

    Raises:
        StcnntError: if the bundle or an option is wrong.
    """

    def __init__(self, options: DenoiserOptions) -> None:
        self.options = options
        chosen = DenoiseOptions(
            input=Path(), output=Path(), strength=options.strength, self_ensemble=options.self_ensemble,
            noise_sigma=options.noise_sigma, device=options.device, progress=False,
            save_uncertainty=options.save_uncertainty,
        )  # fmt: skip
        overrides: dict[str, Any] = {
            **chosen.bundle_entries(), "datalist": [], "dataset_dir": ".", "output_dir": ".", "initialize": [],
        }  # fmt: skip
        with bundle_work():
            workflow = open_inference(bundle_folder("mri_denoising", options.bundle), **overrides)
            self._streamed: StreamedDenoiser = workflow.parser.get_parsed_content("streamed")
        self._lock = threading.Lock()

    def noise_level(self, record: SeriesRecord, gmap: SeriesRecord | None = None) -> float:
        """Estimate the noise standard deviation per component.

        Args:
            record: the image.
            gmap: its g-factor map.

        Returns:
            The level, in the units of the record.

        Raises:
            NoiseLevelError: if there is no noise to estimate.
        """
        frames = SeriesFrames(MemorySlabs(record), None if gmap is None else MemorySlabs(gmap))
        return estimate_series_noise(frames, None).level

    def __call__(
        self, record: SeriesRecord, gmap: SeriesRecord | None = None, noise_sigma: float | None = None
    ) -> tuple[SeriesRecord, float]:
        """Denoise a record.

        Args:
            record: the image.
            gmap: its g-factor map, each axis of the image's size or 1.
            noise_sigma: noise standard deviation per component; that of the options, else estimated.

        Returns:
            The denoised record, and the noise level.

        Raises:
            StcnntError: if the image cannot be denoised.
        """
        result, _, level = self.with_errors(record, gmap, noise_sigma)
        return result, level

    def with_errors(
        self, record: SeriesRecord, gmap: SeriesRecord | None = None, noise_sigma: float | None = None
    ) -> tuple[SeriesRecord, SeriesRecord | None, float]:
        """Denoise a record, and tell the standard error of the result.

        Args:
            record: the image.
            gmap: its g-factor map, each axis of the image's size or 1.
            noise_sigma: noise standard deviation per component; that of the options, else estimated.

        Returns:
            The denoised record, its standard error where the options ask for it, and the noise level.

        Raises:
            StcnntError: if the image cannot be denoised.
        """
        check_image(record.array, str(record.metadata.get("source", "the image")))
        sigma, streamed = noise_sigma or self.options.noise_sigma, self._streamed
        with self._lock:
            saved = denoise_series(
                MemorySlabs(record), _Nowhere(), streamed.network, streamed.inferer,
                gmap=None if gmap is None else MemorySlabs(gmap), noise=NoiseOptions(sigma),
                strength=self.options.strength, device=streamed.state.device,
                save_uncertainty=self.options.save_uncertainty,
            )  # fmt: skip
        assert saved.record is not None  # what comes from memory is kept there
        return record.with_array(saved.record.array), saved.errors, saved.noise_sigma


class _Nowhere(SaveSeries):
    """A saver that writes nothing: a result of an image in memory is in memory."""

    def __init__(self) -> None:
        self.path = Path("memory")

    @contextmanager
    def open(self, outline: SeriesRecord, *, memory: int = IN_MEMORY) -> Iterator[_Nowhere]:  # type: ignore[override]  # noqa: ARG002
        """Take slabs."""
        yield self

    def beside(self, result: Path, name: str, content: str) -> _Nowhere:  # noqa: ARG002
        """Take slabs of another image."""
        return self

    def write(self, frames: slice, slices: slice, values: np.ndarray) -> None:
        """Take a slab."""
