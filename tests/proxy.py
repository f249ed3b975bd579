"""A TCP proxy before the database, which fails as networks and servers do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit, urlunsplit


class Proxy:
    """Forwards connections to the server of a URL until a test makes it fail."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._accepted = 0
        self._first_working = 0
        """The number of the first connection that works; all before it are frozen."""
        self._freezes_new = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Yield the URL of the same database through the proxy."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        login, _, _ = self._parts.netloc.rpartition("@")
        port = server.sockets[0].getsockname()[1]
        try:
            yield urlunsplit(self._parts._replace(netloc=f"{login}@127.0.0.1:{port}", query=""))
        finally:
            server.close()
            self.cut()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def freeze(self, *, new: bool = True) -> None:
        """Swallow everything that either side sends, even the end of its connection.

        Args:
            new: Whether connections that are opened later are frozen, too. Otherwise they work, as
                after a failover to another server.
        """
        self._first_working, self._freezes_new = self._accepted, new

    def thaw(self) -> None:
        """Let connections that are opened from now on work; the frozen ones stay frozen."""
        self.freeze(new=False)

    def cut(self) -> None:
        """End all connections at once, on both sides."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self._accepted = self._accepted, self._accepted + 1
        self._writers.add(writer)
        if self._is_frozen(number):
            await asyncio.Event().wait()
        server_reader, server_writer = await self._open_connection()
        self._writers.add(server_writer)
        await asyncio.gather(
            self._forward(number, reader, server_writer),
            self._forward(number, server_reader, writer),
        )

    async def _open_connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        query = {name: values[0] for name, values in parse_qs(self._parts.query).items()}
        host = query.get("host") or self._parts.hostname or "localhost"
        port = int(query.get("port") or self._parts.port or 5432)
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def _forward(
        self, number: int, source: asyncio.StreamReader, target: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await source.read(65536):
                if not self._is_frozen(number):
                    target.write(data)
        except ConnectionError:
            pass
        if not self._is_frozen(number):
            target.close()

    def _is_frozen(self, number: int) -> bool:
        return number < self._first_working or self._freezes_new
