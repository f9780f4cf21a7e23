"""A proxy to the server that counts the statements and, at the planned one, strikes.

Statements are counted over all connections, from 1, by the protocol's own messages: a query, or the Sync after a
statement with parameters. A connection that only observes (`alembic watch`) is forwarded and not counted, so that the
same run has the same numbers each time.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

LOOKS_ON = b"alembic watch"

Planned = Callable[[list[str]], bool]


@dataclass
class Way:
    """One connection: both sockets, the server's process, and the incomplete messages of both sides."""

    client: socket.socket
    server: socket.socket
    pid: int = 0
    counted: bool = True
    started: bool = False
    asked: bytes = b""
    answered: bytes = b""
    held: list[bytes] | None = None

    def end(self) -> None:
        for one in (self.client, self.server):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@dataclass
class Striker:
    """Forwards everything, and calls `strike(way)` at the first statement for which `planned` returns true.

    `planned` gets the statements so far. At the moment `before`, the server has not received the statement. At
    `during`, the server has just received it. At `after`, the server has answered, and the client has not received the
    answer. If `strike` returns True, the connection continues, otherwise it is cut.
    """

    host: str
    server_port: int
    planned: Planned = lambda statements: False
    moment: str = "before"
    strike: Callable[[Way], bool] = lambda way: False
    statements: list[str] = field(default_factory=list)
    struck: str = ""
    ways: list[Way] = field(default_factory=list)

    def __enter__(self) -> Striker:
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.end_all()

    def end_all(self) -> None:
        """Cut every connection."""
        for way in self.ways:
            way.end()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((self.host, self.server_port))
            except OSError:
                client.close()
                continue
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.ways.append(Way(client, server))
            threading.Thread(target=self._relay, args=[self.ways[-1]], daemon=True).start()

    def _relay(self, way: Way) -> None:
        with suppress(OSError, ValueError):
            while True:
                ready, _, _ = select.select([way.client, way.server], [], [])
                if way.server in ready and not self._answer(way):
                    break
                if way.client in ready and not self._ask(way):
                    break
        way.end()

    def _ask(self, way: Way) -> bool:
        """Forward the client's data, up to each end of a statement. Return False if the connection ends."""
        received = way.client.recv(65536)
        way.asked += received
        if not received:
            return False
        if not way.started:
            if len(way.asked) < 4 or len(way.asked) < struct.unpack("!I", way.asked[:4])[0]:
                return True
            way.counted = LOOKS_ON not in way.asked
            way.started = True
            way.server.sendall(way.asked)
            way.asked = b""
        self._pass_rows(way)
        while end := _end_of_statement(way.asked):
            message, way.asked = way.asked[:end], way.asked[end:]
            strikes = way.counted and self._count(message)
            if strikes and self.moment == "before" and not self.strike(way):
                return False
            if strikes and self.moment == "after":
                way.held = []
            with suppress(OSError):
                # A server that has ended can still have sent the reason.
                way.server.sendall(message)
            if strikes and self.moment == "during" and not self.strike(way):
                return False
            self._pass_rows(way)
        if not way.asked or way.asked[:1] in b"pX":
            way.server.sendall(way.asked)
            way.asked = b""
        return True

    @staticmethod
    def _pass_rows(way: Way) -> None:
        """Forward the rows of a COPY and its end, which are no statements."""
        while way.asked[:1] in (b"d", b"c", b"f") and len(way.asked) >= 5:
            end = 1 + int(struct.unpack("!I", way.asked[1:5])[0])
            if len(way.asked) < end:
                return
            way.server.sendall(way.asked[:end])
            way.asked = way.asked[end:]

    def _answer(self, way: Way) -> bool:
        received = way.server.recv(65536)
        if not received:
            return False
        done = self._follow(way, received)
        if way.held is None:
            way.client.sendall(received)
            return True
        way.held.append(received)
        if done:
            held, way.held = way.held, None
            if not self.strike(way):
                return False
            way.client.sendall(b"".join(held))
        return True

    def _follow(self, way: Way, received: bytes) -> bool:
        """Return whether the server is ready for the next statement, according to its answers."""
        way.answered += received
        ready = False
        while len(way.answered) >= 5 and len(way.answered) > (length := struct.unpack("!I", way.answered[1:5])[0]):
            kind, body = way.answered[:1], way.answered[5 : length + 1]
            way.answered = way.answered[length + 1 :]
            ready = kind == b"Z"
            if kind == b"K":
                [way.pid] = struct.unpack("!I", body[:4])
        return ready

    def _count(self, message: bytes) -> bool:
        with self._lock:
            self.statements.append(_text(message))
            if self.struck or not self.planned(self.statements):
                return False
            self.struck = self.statements[-1] or "a prepared one"
            return True


def _end_of_statement(messages: bytes) -> int:
    """Return the position after the first complete query or Sync in these messages, or 0 without one."""
    start = 0
    while len(messages) >= start + 5:
        end = start + 1 + int(struct.unpack("!I", messages[start + 1 : start + 5])[0])
        if len(messages) < end:
            return 0
        if messages[start : start + 1] in (b"Q", b"S"):
            return end
        start = end
    return 0


def _text(message: bytes) -> str:
    """Return the statement's text, or an empty text if it executes a prepared statement."""
    body = message[5:] if message[:1] in b"QP" else b""
    text = body.split(b"\0")[0 if message[:1] == b"Q" else 1] if body else b""
    return " ".join(text.decode(errors="replace").split())
