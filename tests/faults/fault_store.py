"""Ingest from S3 into S3 while the server is busy (503), slow and away: it ends with the store of a calm run.

    python -m tests.faults.fault_store [--quick]

`rclone serve s3` behind a proxy that fails on purpose, each failure beginning when a part of the shards is committed:
503 SlowDown to everything for a minute, connections refused for 20 s, three seconds before every answer for a minute.
At last the same with a wrong secret.
"""

import argparse
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra import objects, session
from infra.errors import UserError
from ingest.cluster.graph import ingest
from ingest.plan import StreamSummary
from ingest.settings import Frames, Ingest
from ingest.sources.webvid import WebVid
from tests.faults.ingests import contents, times_found
from tests.faults.storage_proxy import StorageProxy, proxied
from tests.ingest.archives import write_webvid
from tests.s3_server import S3Server, serving

SETTINGS = Ingest(rows_per_shard=2, row_group=2, frames=Frames(candidates=8, short_side=32, memory_mb=2048))
NUM_SHARDS = 24


@dataclass(frozen=True)
class Plan:
    """Seconds that each failure lasts."""

    busy_s: float = 60.0
    slow_s: float = 60.0
    away_s: float = 20.0
    delay_s: float = 3.0


@dataclass(frozen=True)
class Weather:
    """What came of an ingest in bad weather."""

    seconds: float
    disturbed: int
    """Requests refused or delayed, those while the server was away not among them."""
    same: bool
    """Byte for byte the calm run's store."""
    doubled: int
    """Uids in more than one place."""


class Storm:
    """Lets a proxy fail in turn, each failure after a quarter more of the shards."""

    def __init__(self, proxy: StorageProxy, plan: Plan) -> None:
        self._proxy, self._plan = proxy, plan
        self._failures = (("busy", self._busy), ("away", self._away), ("slow", self._slow))
        self._thread: threading.Thread | None = None
        self._begun = 0

    def at(self, stands: StreamSummary) -> None:
        """Called after every committed shard."""
        over = self._thread is None or not self._thread.is_alive()
        due = (
            self._begun < len(self._failures)
            and 4 * stands.shards_written > self._begun * stands.shards_total
        )
        if over and due:
            what, failure = self._failures[self._begun]
            print(f"after {stands.shards_written:2} of {stands.shards_total} shards: {what}", flush=True)
            self._thread = threading.Thread(target=failure)
            self._thread.start()
            self._begun += 1

    @property
    def failures(self) -> int:
        """How many there were."""
        return self._begun

    def over(self) -> None:
        """Wait for the last one's end."""
        if self._thread is not None:
            self._thread.join()

    def _busy(self) -> None:
        self._proxy.mood = "busy"
        time.sleep(self._plan.busy_s)
        self._proxy.mood = "well"

    def _slow(self) -> None:
        self._proxy.mood, self._proxy.delay_s = "slow", self._plan.delay_s
        time.sleep(self._plan.slow_s)
        self._proxy.mood = "well"

    def _away(self) -> None:
        self._proxy.leave()
        time.sleep(self._plan.away_s)
        self._proxy.arrive()


def upload_archive(folder: Path, uri: str) -> WebVid:
    """Captioned videos, five broken ones among them, in a bucket."""
    root = write_webvid(folder, num_videos=2 * NUM_SHARDS - 5, broken=True).root
    objects.upload_folder(root, uri)
    return WebVid(uri)


def weathered(folder: Path, server: S3Server, proxy: StorageProxy, plan: Plan) -> Weather:
    """Two ingests, one calm. A Ray must have been joined that knows the proxy as its S3 server."""
    source = upload_archive(folder / "raw", server.uri("weather", "raw"))
    calm, stormy = server.uri("weather", "calm"), server.uri("weather", "stormy")
    ingest([source], SETTINGS, calm)
    storm, started = Storm(proxy, plan), time.monotonic()
    ingest([source], SETTINGS, stormy, storm.at)
    seconds = time.monotonic() - started
    storm.over()
    assert storm.failures == 3, "the run ended before all failures had begun"
    found = times_found(stormy, ["captioned"])
    same = contents(stormy) == contents(calm) and found == times_found(calm, ["captioned"])
    return Weather(seconds, proxy.disturbed, same, sum(times > 1 for times in found.values()))


def refused(server: S3Server, proxy: StorageProxy) -> tuple[int, str]:
    """Requests until an ingest with a wrong secret ends, and what it says."""
    with environment({"AWS_SECRET_ACCESS_KEY": "not-the-secret-not-the-secret-not-the-se"}):
        before = proxy.asked
        try:
            ingest([WebVid(server.uri("weather", "raw"))], SETTINGS, server.uri("weather", "refused"))
        except UserError as error:
            return proxy.asked - before, str(error)
    raise AssertionError("a wrong secret was accepted")


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """These variables for the time of the block, seen by the storage too."""
    before = dict(os.environ)
    os.environ.update(variables)
    objects._filesystem.cache_clear()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        objects._filesystem.cache_clear()


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few seconds of each")
    plan = Plan(5.0, 5.0, 5.0, 0.5) if parser.parse_args().quick else Plan()
    logging.basicConfig(format="  %(message)s")
    with (
        tempfile.TemporaryDirectory() as name,
        serving(Path(name) / "s3") as server,
        proxied(server.endpoint) as proxy,
        environment({**server.environment(), "AWS_ENDPOINT_URL": proxy.endpoint}),
    ):
        session.start("local")
        weather = weathered(Path(name), server, proxy, plan)
        requests, sentence = refused(server, proxy)
        session.stop()
    total = plan.busy_s + plan.slow_s + plan.away_s
    print(f"{NUM_SHARDS} shards in {weather.seconds:.0f} s, {total:.0f} s of failures in it")
    print(f"{weather.disturbed} requests refused or delayed")
    print(f"wrong secret: ended after {requests} requests: {sentence!r}")
    print(f"fault_store_same value={int(weather.same)} target=1")
    print(f"fault_store_doubled value={weather.doubled} target=<=0")
    print(f"fault_store_requests_with_a_wrong_secret value={requests} target=<=2")
    told = "access refused" in sentence and "\n" not in sentence
    sys.exit(0 if weather.same and not weather.doubled and requests <= 2 and told else 1)


if __name__ == "__main__":
    main()
