"""S3 that is away for a while is waited for; S3 that refuses is not asked again.

botocore's own retries end after seconds, and in its standard mode earlier still when many requests fail at once (they
share a quota). An ingest of days meets longer outages than that.
"""

import logging
import math
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from s3fs import S3FileSystem


def endpoint() -> str:
    """Where S3 is, without what may be secret in the address."""
    given = os.environ.get("AWS_ENDPOINT_URL", "")
    parts = urlsplit(given)
    if not parts.hostname:
        return given or "the S3 endpoint"
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"


_log = logging.getLogger(__name__)
_AWAY_STATUS = frozenset({408, 429, 500, 502, 503, 504, 509})
_AWAY_CODES = frozenset({"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling"})
_AWAY_ERRORS = (boto.ConnectionError, boto.HTTPClientError, ResponseParserError)
_MAX_ATTEMPTS = 120
"""Of one request, in case that the server answers others and never this one."""
_LONGEST_PAUSE_S = 8.0
_TELL_AFTER_S = 5.0
"""A server that turns away a request now and then is no news."""


class PatientS3(S3FileSystem):  # type: ignore[misc]
    """s3fs that waits as `Patience` says; a copy sent to another process does so too."""

    async def set_session(self, refresh: bool = False, kwargs: dict[str, Any] | None = None) -> Any:
        """The client, which s3fs makes when it is first needed, with our handler in it."""
        client = await super().set_session(refresh, kwargs or {})
        client.meta.events.register("needs-retry.s3", self._patience, unique_id="reelscript-patience")
        return client

    _connect = set_session

    @cached_property
    def _patience(self) -> "Patience":
        return Patience()


@dataclass(eq=False)
class Patience:
    """Decides for every failed request of one client whether it is sent again, and after how many seconds.

    A server that has answered before is waited for `later_s`; one that never has may be a wrong address, and gets
    `first_s`. The time counts from the first failure since anything was answered, over all requests.
    """

    first_s: float = 30.0
    later_s: float = 300.0
    clock: Callable[[], float] = time.monotonic
    known: bool = False
    since: float | None = None
    reported: bool = False

    def __call__(
        self, *, response: Any, caught_exception: Exception | None, attempts: int, **_: Any
    ) -> float | None:
        """Seconds to wait before the next attempt; None: none (botocore's event `needs-retry`)."""
        what = _outage(response, caught_exception)
        if response is not None:
            self.known = True
            if what is None:
                self._back()
        if what is None:
            return None
        limit_s = self.later_s if self.known else self.first_s
        self.since = self.clock() if self.since is None else self.since
        away_s = self.clock() - self.since
        if away_s >= _TELL_AFTER_S and not self.reported:
            self.reported = True
            _log.warning("%s %s; trying again for up to %s", endpoint(), what, _spoken(limit_s))
        if away_s > limit_s or attempts >= _MAX_ATTEMPTS:
            return None
        return min(_LONGEST_PAUSE_S, 0.25 * math.pow(2, attempts - 1)) * random.uniform(0.5, 1.0)

    def _back(self) -> None:
        if self.since is not None and self.reported:
            _log.warning("%s answers again after %.0f s", endpoint(), self.clock() - self.since)
        self.since, self.reported = None, False


def _outage(response: Any, error: Exception | None) -> str | None:
    """What is wrong with the server in a few words; None where it has answered, be it with a refusal."""
    if error is not None:
        away = isinstance(error, _AWAY_ERRORS) and not isinstance(error, boto.SSLError)
        return "cannot be reached" if away else None
    status, code = response[0].status_code, response[1].get("Error", {}).get("Code", "")
    if status in _AWAY_STATUS or code in _AWAY_CODES:
        return f"answers {status}" + (f" ({code})" if code and code != str(status) else "")
    return None


def _spoken(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} s"
