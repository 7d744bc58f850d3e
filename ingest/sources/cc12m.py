"""CC12M as img2dataset writes it: tars, Parquet, or files in numbered folders."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from infra import objects
from infra.errors import UserError
from ingest.formats import downloads
from ingest.formats import tars as webdataset
from ingest.formats.caption_lists import CaptionList, captions_of
from ingest.formats.downloads import Download
from ingest.formats.folders import listing
from ingest.formats.tables import Damage, rows
from ingest.formats.tars import MAX_MEMBER_BYTES, Sample
from ingest.records import Media, Reject, stable_uid
from ingest.source import InputShard, printable

_AT_ONCE = 32  # samples whose files are fetched together


@dataclass(frozen=True)
class CC12M:
    """Tars of jpg, txt and json. The key of a still is its key in the tar, below the tar's folder.

    `list_file` (url, TAB, caption) is needed only for a download made without captions.
    """

    root: str
    list_file: str = ""
    stream: str = "stills"
    name: str = "cc12m"
    narrated: bool = False

    def shards(self, rows_per_shard: int) -> list[InputShard]:
        """One per tar below the root."""
        return CaptionList(self.root, self.list_file).with_list(webdataset.tar_shards(self.root, self.name))

    def read(self, shard: InputShard) -> Iterator[Media | Reject]:
        """One medium per sample, with the image's bytes; a cut-off tar gives what it holds and one reject."""
        yield from downloads.read_tar(shard, downloads.IMAGE, self.name, captions_of(shard))


@dataclass(frozen=True)
class CC12MParquet:
    """Parquet with key, an image (jpg, png or webp), caption, url and status; keys as in the tars."""

    root: str
    list_file: str = ""
    stream: str = "stills"
    name: str = "cc12m"
    narrated: bool = False

    def shards(self, rows_per_shard: int) -> list[InputShard]:
        """One per Parquet file below the root that does not merely describe a tar or a folder beside it."""
        sizes = objects.list_sizes(self.root)
        described = {uri.rpartition("/")[0] for uri in sizes}
        described |= {uri.removesuffix(".tar") for uri in sizes if uri.endswith(".tar")}
        files = [uri for uri in sizes if uri.endswith(".parquet")]
        shards = [
            webdataset.whole_file(self.root, self.name, uri, sizes[uri])
            for uri in files
            if uri.removesuffix(".parquet") not in described
        ]
        if not shards:
            raise UserError(f"{self.root}: no .parquet file with images lies below this folder")
        return CaptionList(self.root, self.list_file).with_list(shards)

    def read(self, shard: InputShard) -> Iterator[Media | Reject]:
        """One medium per row. A damaged row group costs its rows, a file without its columns itself."""
        captions = captions_of(shard)
        for number, row in enumerate(rows(shard.uri, downloads.IMAGE.extensions)):
            if isinstance(row, Damage):
                uid = stable_uid(self.name, shard.name, number)
                yield Reject(
                    uid, "source", row.reason, f"{shard.name}: {row.detail}"[:500], self.name, shard.uri
                )
                continue
            name = str(row.facts.get("key") or f"row {number}")
            key = downloads.key_of(shard, name)
            found = Download(
                key, f"{shard.uri}#{name}", row.image, row.facts, downloads.text(row.facts.get("txt")), key
            )
            yield downloads.medium(self.name, found, downloads.IMAGE, captions)


@dataclass(frozen=True)
class CC12MFiles:
    """`00000/000000000.jpg|txt|json`: a numbered folder is an input shard, as a tar is."""

    root: str
    list_file: str = ""
    stream: str = "stills"
    name: str = "cc12m"
    narrated: bool = False

    def shards(self, rows_per_shard: int) -> list[InputShard]:
        """One per folder; what it says is told by the Parquet file beside it, or by its own listing."""
        top = listing(self.root)
        shards = []
        for name in top.folders:
            size = top.sizes.get(f"{name}.parquet")
            content = size if size is not None else listing(self.root, name).fingerprint()
            uid = stable_uid(self.name, name, content)
            shards.append(InputShard(uid, f"{self.name}/{name}", name, objects.join(self.root, name)))
        if not shards:
            raise UserError(f"{self.root}: no numbered folder lies in this one")
        return CaptionList(self.root, self.list_file).with_list(shards)

    def read(self, shard: InputShard) -> Iterator[Media | Reject]:
        """One medium per key, with the image's bytes, in the order of the keys."""
        captions = captions_of(shard)
        by_key: dict[str, list[str]] = {}
        sizes = listing(shard.uri).sizes
        for name in sizes:
            by_key.setdefault(name.partition(".")[0], []).append(name)
        keys = list(by_key)
        for start in range(0, len(keys), _AT_ONCE):
            chosen = keys[start : start + _AT_ONCE]
            small = [name for key in chosen for name in by_key[key] if sizes[name] <= MAX_MEMBER_BYTES]
            contents = dict(
                zip(small, objects.read_many([f"{shard.uri}/{name}" for name in small]), strict=True)
            )
            for key in chosen:
                sample = _sample(key, by_key[key], contents)
                yield downloads.of_sample(self.name, shard, sample, downloads.IMAGE, captions)


def _sample(key: str, names: Sequence[str], contents: Mapping[str, bytes]) -> Sample:
    extensions = {name: printable(name).partition(".")[2].lower() for name in names}
    members = {extensions[name]: contents.get(name, b"") for name in names}
    places = {extensions[name]: f"/{name}" for name in names if printable(name) == name}
    fault = "" if all(name in contents for name in names) else "too_large"
    return Sample(printable(key), members, fault, places)
