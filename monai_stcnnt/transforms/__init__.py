# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""MONAI transforms: file layout, MR noise, SNR units, g-factor maps; array and dictionary forms."""

from __future__ import annotations

from monai_stcnnt.transforms.augment import (
    RandBandLimit,
    RandBandLimitd,
    RandFrameShuffle,
    RandFrameShuffled,
    RandMatrixSize,
    RandMatrixSized,
    RandSimulatedClip,
    RandSimulatedClipd,
    Simulation,
)
from monai_stcnnt.transforms.clip import (
    ForegroundReferenced,
    RandFrameClip,
    RandFrameClipd,
)
from monai_stcnnt.transforms.complex import (
    MagnitudePhaseToComplex,
    MagnitudePhaseToComplexd,
    PhaseUnit,
)
from monai_stcnnt.transforms.components import (
    KeepLargestPerFrame,
    KeepLargestPerFramed,
)
from monai_stcnnt.transforms.frames import FileToFrames, FileToFramesd, SwapFrameLayout, SwapFrameLayoutd
from monai_stcnnt.transforms.gfactor import (
    AppendGFactor,
    AppendGFactord,
    ApplyGFactor,
    ApplyGFactord,
    RandGFactorMap,
    RandGFactorMapd,
)
from monai_stcnnt.transforms.labelled_clip import (
    LabelledFramesd,
    RandLabelledClipd,
    labelled_frames,
)
from monai_stcnnt.transforms.layout import (
    FrameAxis,
    Layout,
    expand_to_sizes,
    file_to_frames,
    frames_to_file,
    resolve_frame_axis,
    swap_frame_layout,
)
from monai_stcnnt.transforms.magnitude import (
    NormalizeMagnitude,
    NormalizeMagnituded,
)
from monai_stcnnt.transforms.noise import (
    RandMRNoise,
    RandMRNoised,
    RandSmoothPhase,
    RandSmoothPhased,
)
from monai_stcnnt.transforms.noise_model import (
    EstimateNoiseModel,
    EstimateNoiseModeld,
    NoiseOptions,
    ToAcquiredMatrix,
    ToAcquiredMatrixd,
    WhitenNoise,
    WhitenNoised,
)
from monai_stcnnt.transforms.snr_units import (
    EstimateNoiseLevel,
    EstimateNoiseLeveld,
    FromSNRUnits,
    FromSNRUnitsd,
    ToSNRUnits,
    ToSNRUnitsd,
)
from monai_stcnnt.transforms.synthesis import (
    RandFrameWarpd,
    RandImageFromLabelsd,
    fill_unlabelled,
    image_from_labels,
    warp_grid,
)

__all__ = [
    "AppendGFactor",
    "AppendGFactord",
    "ApplyGFactor",
    "ApplyGFactord",
    "EstimateNoiseLevel",
    "EstimateNoiseLeveld",
    "EstimateNoiseModel",
    "EstimateNoiseModeld",
    "FileToFrames",
    "FileToFramesd",
    "ForegroundReferenced",
    "FrameAxis",
    "FromSNRUnits",
    "FromSNRUnitsd",
    "KeepLargestPerFrame",
    "KeepLargestPerFramed",
    "LabelledFramesd",
    "Layout",
    "MagnitudePhaseToComplex",
    "MagnitudePhaseToComplexd",
    "NoiseOptions",
    "NormalizeMagnitude",
    "NormalizeMagnituded",
    "PhaseUnit",
    "RandBandLimit",
    "RandBandLimitd",
    "RandFrameClip",
    "RandFrameClipd",
    "RandFrameShuffle",
    "RandFrameShuffled",
    "RandFrameWarpd",
    "RandGFactorMap",
    "RandGFactorMapd",
    "RandImageFromLabelsd",
    "RandLabelledClipd",
    "RandMRNoise",
    "RandMRNoised",
    "RandMatrixSize",
    "RandMatrixSized",
    "RandSimulatedClip",
    "RandSimulatedClipd",
    "RandSmoothPhase",
    "RandSmoothPhased",
    "Simulation",
    "SwapFrameLayout",
    "SwapFrameLayoutd",
    "ToAcquiredMatrix",
    "ToAcquiredMatrixd",
    "ToSNRUnits",
    "ToSNRUnitsd",
    "WhitenNoise",
    "WhitenNoised",
    "expand_to_sizes",
    "file_to_frames",
    "fill_unlabelled",
    "frames_to_file",
    "image_from_labels",
    "labelled_frames",
    "resolve_frame_axis",
    "swap_frame_layout",
    "warp_grid",
]
