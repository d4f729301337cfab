# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Errors that a user can act on: one class per cause.

Every class derives from :class:`StcnntError` and from ``ValueError`` (something given is wrong) or ``OSError``
(something on disk is wrong), so that callers can catch the cause, the kind, or all of them. Messages name what was
found and what to do.
"""

from __future__ import annotations

__all__ = [
    "BlockStringError",
    "ChangedFileError",
    "CheckpointMismatchError",
    "ConstantImageError",
    "DeviceMemoryError",
    "EmptyImageError",
    "ExportMismatchError",
    "FailedSeriesError",
    "GFactorMapError",
    "GeometryError",
    "ImageSizeError",
    "LabelShapeError",
    "LabelValueError",
    "LaunchError",
    "LayoutError",
    "LostWorkerError",
    "MissingFileError",
    "MissingPackageError",
    "NetworkConfigError",
    "NetworkOutputError",
    "NoiseLevelError",
    "NoiseModelError",
    "NonFiniteValuesError",
    "NotAnImageError",
    "OptionError",
    "OutputNotWritableError",
    "PhaseRangeError",
    "PickledCodeError",
    "ProtocolError",
    "ResultExistsError",
    "SeriesMismatchError",
    "SeriesSelectionError",
    "ServiceAddressError",
    "StcnntError",
    "TrainingDivergedError",
    "UnreadableFileError",
]


class StcnntError(Exception):
    """Base of all errors that this package raises on purpose."""


class MissingFileError(StcnntError, FileNotFoundError):
    """A file or folder that was named does not exist."""


class UnreadableFileError(StcnntError, OSError):
    """A file exists but cannot be read or decoded."""


class NotAnImageError(StcnntError, ValueError):
    """A file is of a kind that this package does not read as an MR image."""


class NetworkOutputError(StcnntError, ValueError):
    """A network gives values that no image can have."""


class OptionError(StcnntError, ValueError):
    """An option has a value that it cannot have."""


class EmptyImageError(StcnntError, ValueError):
    """An image without voxels, or a folder without images."""


class NonFiniteValuesError(StcnntError, ValueError):
    """An image holds NaN or infinite values."""


class ConstantImageError(StcnntError, ValueError):
    """All voxels of an image have the same value."""


class GFactorMapError(StcnntError, ValueError):
    """A g-factor map has the wrong shape or values that are not positive."""


class NoiseLevelError(StcnntError, ValueError):
    """A noise level is not a positive number, or cannot be estimated."""


class NoiseModelError(StcnntError, ValueError):
    """A noise model, or a part of one that was given, does not describe the image."""


class OutputNotWritableError(StcnntError, OSError):
    """An output file or folder cannot be written."""


class ResultExistsError(OutputNotWritableError):
    """What is in the place of a result was made otherwise, or by somebody else."""


class DeviceMemoryError(StcnntError, OSError):
    """A device has not enough memory for a single window."""


class CheckpointMismatchError(StcnntError, ValueError):
    """A checkpoint does not fit the network."""


class ExportMismatchError(StcnntError, ValueError):
    """An exported network does not give the results of the one that it was made from."""


class LayoutError(StcnntError, ValueError):
    """A tensor's axes are not those that were asked for."""


class ImageSizeError(StcnntError, ValueError):
    """An image size that the network cannot take."""


class BlockStringError(StcnntError, ValueError):
    """A block string names a cell that does not exist."""


class NetworkConfigError(StcnntError, ValueError):
    """Network options that do not fit together."""


class GeometryError(StcnntError, ValueError):
    """The position, orientation or spacing of an image is absent or impossible."""


class SeriesSelectionError(StcnntError, ValueError):
    """A folder holds several series, or not the one that was asked for."""


class SeriesMismatchError(StcnntError, ValueError):
    """The files of a series do not make one image: frames missing, duplicated, or of mixed size."""


class PhaseRangeError(StcnntError, ValueError):
    """The values of a phase image are in no range that is known to stand for a turn."""


class PickledCodeError(UnreadableFileError):
    """A checkpoint holds more than tensors: loading it could run code that came with it."""


class LabelValueError(StcnntError, ValueError):
    """A mask holds values that are no labels, or that no class is named for."""


class LabelShapeError(StcnntError, ValueError):
    """A mask does not have the shape of its image."""


class ChangedFileError(StcnntError, OSError):
    """A file changed while it was read."""


class FailedSeriesError(StcnntError, ValueError):
    """A batch has come to its end, but some of its series could not be done."""


class LaunchError(StcnntError, ValueError):
    """A program for several processes was not started by what starts them."""


class LostWorkerError(StcnntError, OSError):
    """The processes that worked on a series died."""


class TrainingDivergedError(StcnntError, ValueError):
    """The loss of a training is no longer a number."""


class MissingPackageError(StcnntError, OSError):
    """A package that an extra brings is not installed."""


class ProtocolError(StcnntError, ValueError):
    """The other side of a connection sent what the protocol, or a limit of the service, does not allow."""


class ServiceAddressError(StcnntError, OSError):
    """A service cannot listen on an address."""
