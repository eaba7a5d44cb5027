"""A network between client and server that can be cut."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator


class Network:
    """Forwards connections to a server on the loopback interface, unless it is cut."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.up = True
        threading.Thread(target=self._accept, daemon=True).start()

    def drop(self) -> None:
        """Cut every connection there is; new ones are let through."""
        with self._lock:
            for end in self._open:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Nobody gets through, neither old connections nor new ones."""
        self.up = False
        self.drop()
        try:
            yield
        finally:
            self.up = True

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if not self.up:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            threading.Thread(target=self._pump, args=(client, server), daemon=True).start()

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        with selectors.DefaultSelector() as selector, client, server:
            for end in other:
                selector.register(end, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    end = key.fileobj
                    assert isinstance(end, socket.socket)
                    try:
                        data = end.recv(65536)
                        if not data:
                            return
                        other[end].sendall(data)
                    except OSError:
                        return
