# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The MRD server: a thread for each connection, one network for all."""

from __future__ import annotations

import functools
import logging
import socket
import threading
from collections.abc import Callable
from types import TracebackType

from monai_stcnnt.errors import ServiceAddressError
from monai_stcnnt.services.engine import DenoiserOptions, RecordDenoiser
from monai_stcnnt.services.mrd.messages import Limits, close_message, text_message
from monai_stcnnt.services.mrd.session import Session, StreamOptions

__all__ = ["MrdServer"]

logger = logging.getLogger(__name__)

_NETWORKS = 4  # kept for clients that ask for options of their own


class MrdServer:
    """Denoises the images of MRD streams.

    Args:
        options: how to denoise where a client does not say.
        address: to listen on.
        port: to listen on; 0 for any that is free.
        limits: what clients may ask for.
        open_denoiser: loads the network for options; it is called once for each of the last few.

    Raises:
        ServiceAddressError: if the address cannot be listened on.
        StcnntError: if the bundle or an option is wrong.
    """

    def __init__(
        self,
        options: StreamOptions | None = None,
        address: str = "127.0.0.1",
        port: int = 9002,
        limits: Limits | None = None,
        open_denoiser: Callable[[DenoiserOptions], RecordDenoiser] = RecordDenoiser,
    ) -> None:
        self.options = options or StreamOptions()
        self.limits = limits or Limits()
        self.open_denoiser = functools.lru_cache(_NETWORKS)(open_denoiser)
        self.open_denoiser(self.options.denoiser)
        self._free = threading.BoundedSemaphore(self.limits.connections)
        self._is_stopped = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.RLock()  # stop() may be called by a signal, within serve()
        try:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            self._listener = socket.create_server((address, port), family=family)
        except OSError as error:
            raise ServiceAddressError(
                f"{address}:{port} cannot be listened on: {error.strerror or error}. Choose another port or address."
            ) from error
        self.port = int(self._listener.getsockname()[1])
        logger.info("MRD server on %s:%d", address, self.port)

    def serve(self) -> None:
        """Accept connections until :meth:`stop` is called."""
        while not self._is_stopped.is_set():
            try:
                connection, (host, port, *_) = self._listener.accept()
            except OSError:
                break
            if not self._free.acquire(blocking=False):
                logger.warning("%s:%d is refused: %d connections are open", host, port, self.limits.connections)
                _refuse(connection)
                continue
            logger.info("connection from %s:%d", host, port)
            with self._lock:
                self._open.add(connection)
            threading.Thread(target=self._run, args=(connection,), name="mrd-session", daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        try:
            Session(connection, self.options, self.open_denoiser, self.limits).run()
        finally:
            with self._lock:
                self._open.discard(connection)
            self._free.release()

    def stop(self) -> None:
        """Listen no more, and end the connections that are open."""
        self._is_stopped.set()
        with self._lock:
            sockets = [self._listener, *self._open]
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                logger.debug("a socket was closed before")
        self._listener.close()

    def __enter__(self) -> MrdServer:
        """Serve in a thread of its own."""
        threading.Thread(target=self.serve, name="mrd-server", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()


def _refuse(connection: socket.socket) -> None:
    with connection:
        try:
            connection.settimeout(1)
            connection.sendall(text_message("ERROR too many connections, try later").to_bytes())
            connection.sendall(close_message().to_bytes())
        except OSError:
            logger.debug("the refused client has left")
