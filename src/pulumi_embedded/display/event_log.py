"""Send every event of an operation as JSON to a file, or to a server of Pulumi's Events service."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from pulumi_embedded.errors import EngineError

__all__ = ["event_log"]

_TCP: Final = "tcp://"
_END_SECONDS: Final = 10.0


@contextmanager
def event_log(place: str) -> Iterator[Callable[[str], object]]:
    """Return a function that writes a document to a file, or sends it to `tcp://HOST:PORT` (Pulumi CLI 3.260).

    A server that disconnects does not stop the operation.

    Raises:
        EngineError: The file cannot be written.

    """
    if place.startswith(_TCP):
        with _stream(place.removeprefix(_TCP)) as send:
            yield send
        return
    # Imported here: only this needs it.
    from pulumi_embedded.storage.files import open_private

    try:
        file = open_private(place)
    except OSError as error:
        raise EngineError(f"the event log {place} cannot be written: {error.strerror}") from None
    with file:
        yield lambda document: print(document, file=file, flush=True)


@contextmanager
def _stream(address: str) -> Iterator[Callable[[str], object]]:
    import grpc
    from pulumi.runtime.proto import events_pb2, events_pb2_grpc

    waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    with grpc.insecure_channel(address) as channel:
        requests = (events_pb2.EventRequest(event=document) for document in iter(waiting.get, None))
        call = events_pb2_grpc.EventsStub(channel).StreamEvents.future(requests)
        try:
            yield waiting.put
        finally:
            waiting.put(None)
            try:
                call.result(_END_SECONDS)
            except (grpc.RpcError, grpc.FutureTimeoutError):
                call.cancel()  # type: ignore[no-untyped-call]
