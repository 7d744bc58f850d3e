"""CC12M as img2dataset writes it: WebDataset tars with jpg, txt (the caption) and json (status and address)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from infra import objects
from infra.errors import UserError
from ingest.records import Media, Reject, stable_uid
from ingest.sources.source import InputShard
from ingest.sources.webdataset import Sample, TruncatedTarError, samples

_IMAGES = ("jpg", "jpeg", "png", "webp")


@dataclass(frozen=True)
class CC12M:
    """Captioned stills; the key of one is its key in the tar."""

    root: str
    stream: str = "stills"
    name: str = "cc12m"
    narrated: bool = False

    def shards(self, rows_per_shard: int) -> list[InputShard]:
        """One per tar below the root."""
        sizes = objects.list_sizes(self.root)
        shards = [self._shard(uri, size) for uri, size in sizes.items() if uri.endswith(".tar")]
        if not shards:
            raise UserError(f"{self.root}: no .tar file lies below this folder")
        return shards

    def _shard(self, uri: str, size: int) -> InputShard:
        name = uri.removeprefix(self.root.rstrip("/")).strip("/")
        return InputShard(stable_uid(self.name, name, size), f"{self.name}/{name}", name, uri, stop=size)

    def read(self, shard: InputShard) -> Iterator[Media | Reject]:
        """One medium per sample, with the image's bytes; a cut-off tar gives what it holds and one reject."""
        try:
            with objects.open_input(shard.uri) as file, objects.translated(shard.uri):
                for sample in samples(file, complete=frozenset({"jpg", "txt", "json"})):
                    yield self._medium(shard, sample)
        except TruncatedTarError as error:
            uid = stable_uid(self.name, shard.name)
            yield Reject(uid, "source", "truncated", f"{shard.name}: {error}", self.name, shard.uri)

    def _medium(self, shard: InputShard, sample: Sample) -> Media | Reject:
        key = PurePosixPath(sample.key).name
        uid = stable_uid(self.name, key)
        uri = f"{shard.uri}#{sample.key}"
        image = next((sample.members[name] for name in _IMAGES if name in sample.members), None)
        caption = _caption(sample)
        if image is None:
            return Reject(uid, "source", "no_image", f"{key}: {sorted(sample.members)}", self.name, uri)
        if not caption:
            return Reject(uid, "source", "no_caption", key, self.name, uri)
        return Media(uid, self.name, key, "image", uri, payload=image, captions=(caption,))


def _caption(sample: Sample) -> str:
    if "txt" in sample.members:
        return sample.members["txt"].decode("utf-8", "replace").strip()
    try:
        facts = json.loads(sample.members.get("json", b"{}"))
    except ValueError:
        return ""
    return str(facts.get("caption") or "").strip() if isinstance(facts, dict) else ""
