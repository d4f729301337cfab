# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The DICOM node: receives series, has them worked on, and sends results; each in a thread of its own.

What is acknowledged lies in the queue on disk before, and leaves it when every target has confirmed the results: the
process can be killed at any time. Results that are sent twice, since the confirmation was lost, are the same instances.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from monai_stcnnt.errors import OptionError, ServiceAddressError
from monai_stcnnt.services.dicom.jobs import reason_of, work_on
from monai_stcnnt.services.dicom.rules import DEFAULT_RULES, Rule
from monai_stcnnt.services.dicom.spool import RESULTS, Spool, name_for
from monai_stcnnt.services.dicom.targets import Target
from monai_stcnnt.services.extras import needed

__all__ = ["DicomNode", "NodeOptions"]

logger = logging.getLogger(__name__)

_FAILURES = 3  # series that a target does not take before it is left alone for a while
_SUCCESS, _NO_ROOM, _NOT_UNDERSTOOD = 0x0000, 0xA700, 0xC000
_CLASSES = ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")  # MR images


@dataclass(frozen=True)
class NodeOptions:
    """How a node receives and sends.

    Attributes:
        title: its application entity title.
        address: to listen on.
        port: to listen on; 0 for any that is free.
        allowed: titles that may call; empty for all.
        any_called: also answer calls for another title than ours.
        associations: at once; more are refused.
        silence: seconds without a new image after which a series is complete.
        settle: the same, after the association that sent it was released.
        pause: seconds before results are sent again, the first time; then twice as long each time.
        longest_pause: at most.
        timeout: seconds of silence after which an association is ended.
    """

    title: str = "STCNNT"
    address: str = "127.0.0.1"
    port: int = 11112
    allowed: tuple[str, ...] = ()
    any_called: bool = False
    associations: int = 8
    silence: float = 30.0
    settle: float = 3.0
    pause: float = 2.0
    longest_pause: float = 300.0
    timeout: float = 60.0


class DicomNode:
    """A node.

    Args:
        spool: its queue.
        targets: where results go, each one to all of them.
        executor: works on series; several at once where it has several workers.
        options: how it receives and sends.
        rules: what to do with which series.

    Raises:
        OptionError: if an option has no such value.
        ServiceAddressError: if the address cannot be listened on.
        MissingPackageError: if pynetdicom is not installed.
    """

    def __init__(
        self,
        spool: Spool,
        targets: Sequence[Target],
        executor: Executor,
        options: NodeOptions | None = None,
        rules: Sequence[Rule] = DEFAULT_RULES,
    ) -> None:
        self.options = options or NodeOptions()
        self.spool, self.targets, self.executor, self.rules = spool, tuple(targets), executor, tuple(rules)
        if not 0 < len(self.options.title.strip()) <= 16 or not self.targets:
            raise OptionError("A node needs a title of 1 to 16 characters, and a place to send results to.")
        self._stopped = threading.Event()
        self._senders: dict[Any, set[str]] = {}
        self._again: deque[Path] = deque()
        self._lock = threading.Lock()
        self._server = self._listen()
        self.port = int(self._server.socket.getsockname()[1])
        self._threads = [threading.Thread(target=self._dispatch, name="dicom-dispatch", daemon=True)]
        self._threads += [
            threading.Thread(target=self._forward, args=(target,), name="dicom-forward", daemon=True)
            for target in self.targets
        ]
        for thread in self._threads:
            thread.start()
        logger.info("DICOM node %s on %s:%d", self.options.title, self.options.address, self.port)

    def _listen(self) -> Any:  # noqa: ANN401 - pynetdicom's server
        pynetdicom = needed("pynetdicom", "dicom-node")
        events, options = pynetdicom.evt, self.options
        ae = pynetdicom.AE(ae_title=options.title)
        ae.require_called_aet = not options.any_called
        ae.require_calling_aet = list(options.allowed)
        ae.maximum_associations = options.associations
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = options.timeout
        syntaxes = [*pynetdicom.ALL_TRANSFER_SYNTAXES]
        for one in _CLASSES:
            ae.add_supported_context(one, syntaxes)
        ae.add_supported_context("1.2.840.10008.1.1")  # verification
        handlers = [
            (events.EVT_C_STORE, self._receive),
            (events.EVT_RELEASED, self._end, [True]),
            (events.EVT_ABORTED, self._end, [False]),
            (events.EVT_CONN_CLOSE, self._end, [False]),
            (events.EVT_REJECTED, self._refused),
        ]
        try:
            return ae.start_server((options.address, options.port), block=False, evt_handlers=handlers)
        except OSError as error:
            place = f"{options.address}:{options.port}"
            raise ServiceAddressError(
                f"{place} cannot be listened on: {error.strerror or error}. Choose another port or address."
            ) from error

    def _receive(self, event: Any) -> int:  # noqa: ANN401 - pynetdicom's event
        """Keep an image, and say so only then."""
        try:
            header = event.dataset
            series = name_for(str(header.StudyInstanceUID), str(header.SeriesInstanceUID))
            instance = name_for(str(header.SOPInstanceUID))
            data = bytes(event.encoded_dataset())
        except Exception as error:  # noqa: BLE001 - whatever bytes came, the node goes on
            logger.warning("an image is refused: it cannot be read (%s)", type(error).__name__)
            return _NOT_UNDERSTOOD
        if not self.spool.has_room(len(data)):
            logger.warning("an image is refused: the queue or the disk is full")
            return _NO_ROOM
        with self._lock:
            self._senders.setdefault(event.assoc, set()).add(series)
        try:
            self.spool.take(series, instance, data)
        except OSError as error:
            logger.warning("an image is refused: %s", error.strerror or type(error).__name__)
            return _NO_ROOM
        return _SUCCESS

    def _end(self, event: Any, is_released: bool) -> None:  # noqa: ANN401 - pynetdicom's event
        with self._lock:
            series = self._senders.pop(event.assoc, set())
        if is_released:
            self.spool.released(sorted(series), self.options.silence, self.options.settle)

    def _refused(self, event: Any) -> None:  # noqa: ANN401, ARG002 - pynetdicom's event
        logger.warning("an association is refused: its titles are not allowed, or there are too many")

    def _dispatch(self) -> None:
        """Have series worked on: first what an earlier process left, then what is complete."""
        for place in self.spool.waiting("work"):
            self._submit(place)
        while not self._stopped.wait(0.2):
            while self._again and self.spool.has_room(0):
                self._submit(self._again.popleft())
            with self._lock:
                busy = frozenset(key for keys in self._senders.values() for key in keys)
            try:
                for place in self.spool.complete(self.options.silence, busy):
                    logger.info("series %s is complete", place.name[:8])
                    self._submit(place)
            except OSError as error:
                logger.warning("the queue cannot be written to: %s", error.strerror or type(error).__name__)
                self._stopped.wait(self.options.pause)

    def _submit(self, place: Path) -> None:
        future: Future[bool] = self.executor.submit(work_on, str(place), self.rules)
        future.add_done_callback(lambda done: self._worked(place, done))

    def _worked(self, place: Path, done: Future[bool]) -> None:
        name = place.name[:8]
        if done.cancelled() or self._stopped.is_set():
            return
        error = done.exception()
        try:
            if error is not None and not self.spool.has_room(0):
                logger.warning("series %s waits: the queue or the disk is full", name)
                self._again.append(place)
            elif error is not None:
                logger.warning("series %s failed: %s", name, reason_of(error, place))
                self.spool.fail(place, reason_of(error, place))
            elif done.result():
                self.spool.made(place)
                self.spool.move(place, "outgoing")
                logger.info("series %s is done", name)
            else:
                logger.info("series %s is ignored", name)
                self.spool.drop(place)
        except OSError as problem:
            logger.warning("series %s stays in the queue: %s", name, problem.strerror or type(problem).__name__)

    def _forward(self, target: Target) -> None:
        """Send results to one target, with growing pauses while it does not take them."""
        pause, name = self.options.pause, f"target {self.targets.index(target) + 1}"
        while not self._stopped.wait(0.2):
            failures = 0
            for place in self.spool.waiting("outgoing"):
                try:
                    self._send(place, target)
                except OSError as error:
                    if not place.exists():
                        continue  # the last of the others has just finished it
                    failures += 1
                    reason = str(error) if type(error) is ConnectionError else type(error).__name__
                    logger.warning("%s has no series %s: %s; again in %g s", name, place.name[:8], reason, pause)
                if failures == _FAILURES:
                    break
            if not failures:
                pause = self.options.pause
            elif self._stopped.wait(pause):
                return
            else:
                pause = min(2 * pause, self.options.longest_pause)

    def _send(self, place: Path, target: Target) -> None:
        files = sorted((place / RESULTS).iterdir())
        has = place / "sent" / target.key
        has.mkdir(parents=True, exist_ok=True)
        waiting = [file for file in files if not (has / file.name).exists()]
        if waiting:
            target.send(waiting, lambda file: (has / file.name).touch())
            logger.info("series %s: %d images were sent", place.name[:8], len(waiting))
        with self._lock:
            everywhere = all((place / "sent" / one.key / file.name).exists() for one in self.targets for file in files)
            if everywhere and place.exists():
                self.spool.finish(place)

    def serve(self) -> None:
        """Wait until :meth:`stop` is called."""
        while not self._stopped.wait(1.0):
            pass

    def stop(self) -> None:
        """Take no more associations and begin no more work; what waits stays in the queue."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._server.shutdown()

    def __enter__(self) -> DicomNode:
        """The node; it runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and wait for the threads."""
        self.stop()
        deadline = time.monotonic() + 10
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
