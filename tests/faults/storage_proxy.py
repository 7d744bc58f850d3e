"""An HTTP proxy before an S3 server that can fail as servers do: busy (503), slow, or away (connection refused)."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

from tests.s3_server import free_port

Mood = Literal["well", "busy", "slow"]
_BUSY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class StorageProxy:
    """Passes requests on as they are (a signature covers the Host line), in one of its moods, or is away."""

    def __init__(self, target: str) -> None:
        self.target = target.removeprefix("http://")
        self.address = ("127.0.0.1", free_port())
        self.mood: Mood = "well"
        self.delay_s = 0.0
        self.asked = 0
        """Requests that came."""
        self.disturbed = 0
        """Those of them that were refused or delayed."""
        self.open: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None

    @property
    def endpoint(self) -> str:
        """For AWS_ENDPOINT_URL."""
        return f"http://{self.address[0]}:{self.address[1]}"

    def arrive(self) -> None:
        """Listen."""
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer(self.address, handler)
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def leave(self) -> None:
        """Stop listening and hang up."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for connection in list(self.open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxied(target: str) -> Iterator[StorageProxy]:
    """A proxy that listens, well."""
    proxy = StorageProxy(target)
    proxy.arrive()
    try:
        yield proxy
    finally:
        proxy.leave()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    proxy: StorageProxy
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.proxy.open.add(self.connection)

    def finish(self) -> None:
        self.proxy.open.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.proxy.asked += 1
        if self.proxy.mood == "busy":
            self.proxy.disturbed += 1
            self._answer(503, [("Content-Type", "application/xml")], _BUSY)
            return
        if self.proxy.mood == "slow":
            self.proxy.disturbed += 1
            time.sleep(self.proxy.delay_s)
        upstream = http.client.HTTPConnection(self.proxy.target, timeout=60)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() != "expect":  # answered already
                upstream.putheader(name, value)
        upstream.endheaders(body or None)
        answer = upstream.getresponse()
        self._answer(answer.status, answer.getheaders(), answer.read())
        upstream.close()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 (http.server looks for these names)

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        sized = self.command == "HEAD" and any(name.lower() == "content-length" for name, _ in headers)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding") and (
                sized or name.lower() != "content-length"
            ):
                self.send_header(name, value)
        if not sized:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""
