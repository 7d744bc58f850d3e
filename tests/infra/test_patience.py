"""How long S3 is waited for, and what is not waited for."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from botocore import exceptions as boto

from infra import objects
from infra.errors import StorageError
from infra.patience import Patience, PatientS3
from tests.conftest import S3Server
from tests.faults.storage_proxy import proxied

REFUSED = {"response": None, "caught_exception": boto.EndpointConnectionError(endpoint_url="http://s3")}


def answer(status: int, code: str = "") -> dict[str, Any]:
    parsed = {"Error": {"Code": code}} if code else {}
    return {"response": (SimpleNamespace(status_code=status), parsed), "caught_exception": None}


def waited_s(patience: Patience, failure: dict[str, Any]) -> float:
    """Seconds over which a request that always fails so is sent again; the clock is the pauses alone."""
    now, attempts = [0.0], 0
    patience.clock = lambda: now[0]
    while (pause := patience(**failure, attempts=(attempts := attempts + 1))) is not None:
        now[0] += pause
    return now[0]


@pytest.mark.parametrize("failure", [REFUSED, answer(503, "SlowDown"), answer(500), answer(429)])
def test_a_server_that_has_answered_before_is_waited_for_five_minutes_with_one_line(
    failure: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert 300 <= waited_s(Patience(known=True), failure) < 310
    assert [record.message.partition("; ")[2] for record in caplog.records] == [
        "trying again for up to 5 minutes"
    ]


def test_an_address_at_which_nothing_ever_answered_is_tried_for_half_a_minute() -> None:
    assert 30 <= waited_s(Patience(), REFUSED) < 40


@pytest.mark.parametrize("failure", [answer(403, "AccessDenied"), answer(404, "NoSuchBucket"), answer(200)])
def test_a_refusal_is_final(failure: dict[str, Any]) -> None:
    assert waited_s(Patience(known=True), failure) == 0


def test_the_time_of_an_outage_counts_over_all_requests_and_ends_with_an_answer() -> None:
    patience = Patience(known=True)
    waited_s(patience, REFUSED)
    assert patience(**REFUSED, attempts=1) is None
    patience(**answer(200), attempts=1)
    assert patience(**REFUSED, attempts=1) is not None


def test_reads_and_writes_outlast_a_busy_and_an_absent_server(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = s3_server.uri("patience", "x")
    with proxied(s3_server.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        objects._filesystem.cache_clear()
        try:
            objects.write_bytes(uri, b"0123456789")
            proxy.mood = "busy"
            threading.Timer(1.0, setattr, (proxy, "mood", "well")).start()
            with objects.open_input(uri) as file:
                assert file.read() == b"0123456789"
            proxy.leave()
            threading.Timer(1.0, proxy.arrive).start()
            objects.write_bytes(uri, b"9876543210")
            assert objects.list_sizes(s3_server.uri("patience")) == {uri: 10}
            assert objects.read_bytes(uri) == b"9876543210"
        finally:
            objects._filesystem.cache_clear()


def test_a_server_that_stays_busy_is_named_in_the_end(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PatientS3, "_patience", Patience(later_s=0.0))
    with proxied(s3_server.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        objects._filesystem.cache_clear()
        proxy.mood = "busy"
        try:
            for act, code in (
                (objects.list_files, "SlowDown"),
                (objects.exists, "503"),  # asked by HEAD, whose answer has no body to name the error
                (lambda uri: objects.write_bytes(uri, b"x"), "SlowDown"),
            ):
                with pytest.raises(StorageError, match=rf"patience: {proxy.endpoint} says {code} \("):
                    act(s3_server.uri("patience"))
        finally:
            objects._filesystem.cache_clear()
