"""The few answers of the Hugging Face hub that a download needs, from a folder, over real HTTP."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SHA = "0123456789abcdef0123456789abcdef01234567"


class _Handler(BaseHTTPRequestHandler):
    root: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].strip("/")
        self.asked.append(f"{self.command} {path}")
        if path.startswith("api/models/"):
            self._describe(path.removeprefix("api/models/"))
        else:
            repository, _, rest = path.partition("/resolve/")
            self._send(self.root / repository / rest.partition("/")[2])

    def _describe(self, what: str) -> None:
        repository, _, revision = what.partition("/revision/")
        folder = self.root / repository
        if not folder.is_dir():
            self._refuse("RepoNotFound")
        elif revision not in ("", "main", "v1"):
            self._refuse("RevisionNotFound")
        else:
            names = [{"rfilename": path.name} for path in sorted(folder.iterdir())]
            self._answer(json.dumps({"id": repository, "sha": SHA, "siblings": names}).encode())

    def _send(self, path: Path) -> None:
        if path.is_file():
            self._answer(path.read_bytes())
        else:
            self._refuse("EntryNotFound")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", SHA)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _refuse(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(root: Path) -> Iterator[tuple[str, list[str]]]:
    """A server of the repositories below `root` (owner/name/files): its address, and what it was asked for."""
    asked: list[str] = []
    handler = type("Handler", (_Handler,), {"root": root, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
