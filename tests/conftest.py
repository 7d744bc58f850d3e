"""Fixtures that several packages' tests share: an S3 server in a process of its own, a local Ray, the goldens."""

import fcntl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.s3_server import S3Server, serving

hypothesis.settings.register_profile("untimed", deadline=None)  # machines are busy; no test is about time
hypothesis.settings.load_profile("untimed")


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


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """`rclone serve s3` on a free loopback port, with its keys in the AWS_* variables for the whole session."""
    with serving(tmp_path_factory.mktemp("s3")) as server, pytest.MonkeyPatch.context() as environment:
        for name, value in server.environment().items():
            environment.setenv(name, value)
        yield server


@pytest.fixture(scope="session")
def ray_local(s3_server: S3Server) -> Iterator[None]:
    """The local Ray that users get, for the whole session; its workers know the S3 server's keys."""
    from infra import session

    with (Path(tempfile.gettempdir()) / "reelscript-tests-ray.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second local Ray would confuse whoever looks for the first
        session.start("local")
        yield
        session.stop()
