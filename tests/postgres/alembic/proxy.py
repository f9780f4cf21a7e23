"""A proxy that cuts a connection at one COMMIT: before the server receives it, or before the client gets its answer."""

import socket
import threading
from contextlib import suppress
from types import TracebackType


class CutAtCommit:
    """Forwards everything, and cuts one connection once: at the first COMMIT after a message that contains `mark`."""

    def __init__(self, host: str, port: int, mark: str, *, committed: bool) -> None:
        self._server = (host, port)
        self._mark = mark.encode()
        self.committed = committed
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.cuts = 0

    def __enter__(self) -> "CutAtCommit":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in (self._listener, *self._open):
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            self._open += [client, server]
            threading.Thread(target=self._pass_on, args=[client, server], daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        marked = False
        answers = threading.Thread(target=self._answer, args=[server, client], daemon=True)
        answers.start()
        with suppress(OSError):
            while sent := client.recv(65536):
                marked = marked or self._mark in sent
                if marked and not self.cuts and b"COMMIT" in sent:
                    self._cut(client, server, sent)
                    return
                server.sendall(sent)
        _end(server)

    def _cut(self, client: socket.socket, server: socket.socket, commit: bytes) -> None:
        self.cuts += 1
        _end(client)
        if self.committed:
            # The COMMIT is done before the server can read that its client has ended.
            server.sendall(commit)
            server.shutdown(socket.SHUT_WR)
        else:
            _end(server)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while received := server.recv(65536):
                client.sendall(received)
        _end(client)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
