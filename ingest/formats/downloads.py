"""What img2dataset and video2dataset say of a sample, in whichever format they wrote it.

A sample is a medium, `txt` (the caption) and `json`: caption, url, key, status, error_message and what the list
held besides. Any of them may be missing.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from infra import objects
from ingest.formats.tars import Sample, TruncatedTarError, samples
from ingest.records import Kind, Media, Reject, stable_uid
from ingest.source import InputShard, printable


@dataclass(frozen=True)
class Wanted:
    """Which members are the medium, and the reason to give where none is there."""

    kind: Kind
    extensions: tuple[str, ...]
    absent: str

    def complete(self, members: Mapping[str, bytes]) -> bool:
        """Whether nothing that still may come would change what becomes of the sample."""
        if "json" not in members:
            return False
        facts = parsed(members["json"]) or {}
        if facts.get("status", "success") != "success":
            return True
        return self.medium(members) is not None and ("txt" in members or bool(text(facts.get("caption"))))

    def medium(self, members: Mapping[str, bytes]) -> bytes | None:
        """The medium's bytes."""
        name = self.name(members)
        return members[name] if name else None

    def name(self, members: Mapping[str, bytes]) -> str:
        """The medium's extension; "" where there is none."""
        return next((name for name in self.extensions if name in members), "")


IMAGE = Wanted("image", ("jpg", "jpeg", "png", "webp"), "no_image")
VIDEO = Wanted("video", ("mp4", "mkv", "webm", "mov", "avi"), "no_video")


@dataclass(frozen=True)
class Download:
    """A sample read: its medium, what its json says (None: it is none), its caption, and what was there."""

    key: str
    uri: str
    payload: bytes | None
    facts: Mapping[str, Any] | None
    caption: str
    detail: str


def read_tar(
    shard: InputShard, wanted: Wanted, source: str, captions: Mapping[str, str] | None = None
) -> Iterator[Media | Reject]:
    """One medium per sample, with its bytes; a cut-off tar gives what it holds and one reject.

    `captions`: by address, for samples that have none of their own.
    """
    try:
        with objects.open_input(shard.uri) as file, objects.translated(shard.uri):
            for sample in samples(file, wanted.complete):
                yield of_sample(source, shard, sample, wanted, captions)
    except TruncatedTarError as error:
        uid = stable_uid(source, shard.name)
        yield Reject(uid, "source", "truncated", f"{shard.name}: {error}", source, shard.uri)


def of_sample(
    source: str, shard: InputShard, sample: Sample, wanted: Wanted, captions: Mapping[str, str] | None = None
) -> Media | Reject:
    """What a sample of a shard is, or why it is nothing."""
    key = key_of(shard, PurePosixPath(sample.key).name)
    uri = shard.uri + sample.places.get(wanted.name(sample.members), f"#{sample.key}")
    detail = f"{key}: {', '.join(sorted(sample.members))}"
    if sample.fault:
        uid = stable_uid(source, key, sample.fault, *sample.members)
        return Reject(uid, "source", sample.fault, detail[:500], source, uri)
    facts = parsed(sample.members.get("json", b"{}"))
    caption = sample.members.get("txt", b"").decode("utf-8", "replace").strip()
    download = Download(key, uri, wanted.medium(sample.members), facts, caption, detail)
    return medium(source, download, wanted, captions)


def key_of(shard: InputShard, name: str) -> str:
    """The key of a sample: two downloads in folders of their own number their samples alike."""
    folder = str(PurePosixPath(shard.name).parent)
    return name if folder == "." else f"{folder}/{name}"


def medium(
    source: str, found: Download, wanted: Wanted, captions: Mapping[str, str] | None = None
) -> Media | Reject:
    """The medium of a sample, or a Reject: bad_json, not_downloaded, no_image or no_video, no_caption."""
    facts = found.facts or {}
    caption = found.caption or text(facts.get("caption")) or (captions or {}).get(text(facts.get("url")), "")
    status = facts.get("status") or "success"
    reason, detail = "", found.detail
    if found.facts is None:
        reason = "bad_json"
    elif status != "success":
        reason = "not_downloaded"
        detail = printable(f"{found.key}: {status}, {facts.get('error_message')}")
    elif found.payload is None:
        reason = wanted.absent
    elif not caption:
        reason = "no_caption"
    uid = stable_uid(source, found.key)
    if reason:
        return Reject(uid, "source", reason, detail[:500], source, found.uri)
    return Media(uid, source, found.key, wanted.kind, found.uri, payload=found.payload, captions=(caption,))


def parsed(data: bytes) -> dict[str, Any] | None:
    """A json file with an object in it; None for what is none."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def text(value: object) -> str:
    """A text without blanks around it; "" for what is none."""
    return printable(value).strip() if isinstance(value, str) else ""
