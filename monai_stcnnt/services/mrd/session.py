# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""One connection of the MRD server, from its first message to its last."""

from __future__ import annotations

import json
import logging
import queue
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import get_args

from monai_stcnnt.errors import OptionError, ProtocolError, StcnntError
from monai_stcnnt.services.engine import DenoiserOptions, RecordDenoiser
from monai_stcnnt.services.mrd.denoising import FrameByFrame, StreamMode, WholeSeries
from monai_stcnnt.services.mrd.messages import (
    Limits,
    Message,
    MessageId,
    close_message,
    image_message,
    read_message,
    text_message,
)

__all__ = ["Session", "StreamOptions", "options_from_text"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StreamOptions:
    """How images of a stream are denoised.

    Attributes:
        denoiser: the network's options.
        mode: ``series`` or ``realtime``.
        context: frames that a frame is denoised with in ``realtime``, itself included.

    Raises:
        OptionError: if a mode or a number of frames is none.
    """

    denoiser: DenoiserOptions = field(default_factory=DenoiserOptions)
    mode: str = "series"
    context: int = 8

    def __post_init__(self) -> None:
        """Check the options."""
        if self.mode not in get_args(StreamMode) or self.context < 1:
            raise OptionError(
                f"Mode {self.mode!r} with {self.context} frames: choose series, or realtime with 1 frame or more."
            )


def options_from_text(text: str, options: StreamOptions) -> StreamOptions:
    """Apply what a client asks for: JSON as OpenRecon sends it, ``{"parameters": {"mode": "realtime", ...}}``.

    Args:
        text: the text; one that is no such JSON changes nothing.
        options: the server's own.

    Returns:
        The options with ``mode``, ``context``, ``strength``, ``noisesigma`` and ``selfensemble`` of the client; what
        else it says is meant for others.

    Raises:
        ProtocolError: if one of them is no such value.
    """
    try:
        found = json.loads(text)
    except ValueError:
        return options
    asked = found.get("parameters") if isinstance(found, dict) else None
    if not isinstance(asked, dict):
        return options
    try:
        denoiser = replace(
            options.denoiser,
            strength=float(asked.get("strength", options.denoiser.strength)),
            self_ensemble=_is_true(asked.get("selfensemble", options.denoiser.self_ensemble)),
            noise_sigma=float(asked.get("noisesigma") or 0) or options.denoiser.noise_sigma,
        )
        mode, context = str(asked.get("mode", options.mode)), int(asked.get("context", options.context))
        return StreamOptions(denoiser, mode, context)
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"The client's parameters are not valid: {error}.") from error


def _is_true(value: object) -> bool:
    return str(value).lower() in ("true", "1", "yes")


class Session:
    """One connection: reads messages, and sends back one image for every image.

    What is not an image is passed on at once: raw k-space, waveforms and arrays. What is sent waits in a queue of its
    own, so that a client that sends all before it reads does not block both sides.

    Args:
        connection: the socket; it is closed at the end.
        options: how to denoise where the client does not say.
        open_denoiser: makes, or gives again, the network for options.
        limits: what the client may ask for.
    """

    def __init__(
        self,
        connection: socket.socket,
        options: StreamOptions,
        open_denoiser: Callable[[DenoiserOptions], RecordDenoiser],
        limits: Limits,
    ) -> None:
        self.connection = connection
        self.options = options
        self.limits = limits
        self.open_denoiser = open_denoiser
        self.images = 0
        self._held = 0
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._in_queue = 0
        self._room = threading.Lock()
        self._mode: WholeSeries | FrameByFrame | None = None

    def run(self) -> None:
        """Serve the connection until it ends; whatever happens, the socket is closed."""
        self.connection.settimeout(self.limits.timeout)
        sender = threading.Thread(target=self._send_all, name="mrd-sender", daemon=True)
        sender.start()
        try:
            self._serve()
        except StcnntError as error:
            logger.warning("connection ended: %s", error)
            self._send(text_message(f"ERROR {error}"))
            self._send(close_message())
        except OSError as error:
            logger.warning("connection lost: %s", type(error).__name__)
        except Exception as error:
            logger.error("connection ended by a fault of the server: %s", type(error).__name__)
            logger.debug("where it came from", exc_info=True)
            self._send(text_message("ERROR fault of the server"))
            self._send(close_message())
        finally:
            self._outgoing.put(None)
            sender.join()
            self._shut()

    def _serve(self) -> None:
        with self.connection.makefile("rb") as stream:
            while (message := read_message(stream.read, self.limits)) is not None:
                if message.kind == MessageId.CLOSE:
                    self._finish()
                    return
                self._handle(message)
        logger.warning("the client left without a close message after %d images", self.images)

    def _handle(self, message: Message) -> None:
        if message.kind == MessageId.IMAGE:
            self._take(message)
        elif message.kind in (MessageId.ACQUISITION, MessageId.WAVEFORM, MessageId.ARRAY):
            self._send(message)
            self._check_room()
        elif message.kind in (MessageId.TEXT, MessageId.CONFIG_TEXT) and self._mode is None:
            self.options = options_from_text(message.text, self.options)

    def _take(self, message: Message) -> None:
        assert message.image is not None
        self.images += 1
        if self._mode is None:
            denoiser = self.open_denoiser(self.options.denoiser)
            is_whole = self.options.mode == "series"
            self._mode = WholeSeries(denoiser) if is_whole else FrameByFrame(denoiser, self.options.context)
        if isinstance(self._mode, WholeSeries):
            self._held += len(message.body)
            self._check_room()
        for image in self._mode.take(message.image):
            self._send(message if image is message.image else image_message(image))
            self._check_room()

    def _finish(self) -> None:
        for image in self._mode.finish() if self._mode is not None else ():
            self._send(image_message(image))
        self._send(close_message())
        logger.info("%d images were sent back", self.images)

    def _check_room(self) -> None:
        if self._held + self._in_queue > self.limits.connection:
            raise ProtocolError(
                f"More than {self.limits.connection} bytes wait. Send shorter series, read what is sent back, or raise "
                "the limit."
            )

    def _send(self, message: Message) -> None:
        data = message.to_bytes()
        with self._room:
            self._in_queue += len(data)
        self._outgoing.put(data)

    def _send_all(self) -> None:
        is_open = True
        while (data := self._outgoing.get()) is not None:
            with self._room:
                self._in_queue -= len(data)
            if is_open:
                try:
                    self.connection.sendall(data)
                except OSError:
                    is_open = False
                    self._shut()

    def _shut(self) -> None:
        """Close both directions, so that nobody waits for the other."""
        for action in (lambda: self.connection.shutdown(socket.SHUT_RDWR), self.connection.close):
            try:
                action()
            except OSError:
                logger.debug("the socket was closed before")
