"""A plain folder of videos or images, at any depth, with .txt, .srt, .vtt or .json beside each file."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from infra import objects
from infra.errors import UserError
from ingest.records import Kind, Media, Reject, stable_uid
from ingest.sources.annotations import AnnotationError
from ingest.sources.beside import by_stem, extension, read_beside, stem
from ingest.sources.folders import Listing, walk
from ingest.sources.source import InputShard, printable
from ingest.sources.whole import TooLargeError, read_whole

_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("mp4", "m4v", "mov", "mkv", "webm", "avi", "flv", "3gp"), "video"),
    **dict.fromkeys(("mpg", "mpeg", "ts", "m2ts", "ogv", "wmv"), "video"),
    **dict.fromkeys(("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"), "image"),
}


@dataclass(frozen=True)
class Folder:
    """Every video and image below `root/path`; the key of one is its path below the root.

    A picture with the name of a video is its thumbnail and no medium. `a.txt` holds the caption of `a.mp4`;
    `a.srt` or `a.vtt` (or `a.en.vtt`, if it is the only one) its transcript; `a.json` may hold `caption` or
    `captions`, `label`, and speech as Whisper writes it (`segments`) or as YT-Temporal does (`subtitles`).
    """

    root: str
    path: str = ""
    stream: str = "captioned"
    narrated: bool = False
    name: str = "folder"

    def shards(self, rows_per_shard: int) -> list[InputShard]:
        """Consecutive media of one folder; their names travel with the shard."""
        shards = [
            shard
            for folder in walk(self.root, self.path)
            for shard in _Cut(self.name, rows_per_shard).shards(folder)
        ]
        if not shards:
            uri = objects.join(self.root, self.path)
            raise UserError(f"{uri}: no video or image lies below this folder")
        return shards

    def read(self, shard: InputShard) -> Iterator[Media | Reject]:
        """One medium per file, an image with its bytes."""
        path, names = json.loads(shard.header)
        for name, beside in names.items():
            key = f"{path}/{name}".strip("/")
            if key != printable(key):
                yield self._reject(shard.uri, key, "bad_name", f"{key}: the name is no text")
                continue
            try:
                yield self._medium(shard.uri, key, name, beside)
            except (AnnotationError, TooLargeError, objects.MissingError) as error:
                reason = _REASONS[type(error)]
                yield self._reject(shard.uri, key, reason, f"{key}: {error}")

    def _medium(self, folder: str, key: str, name: str, beside: list[str]) -> Media | Reject:
        told = read_beside(folder, name, beside)
        if not self.narrated and not told.captions:
            return self._reject(
                folder, key, "no_caption", f"{key}: {', '.join(beside) or 'nothing beside it'}"
            )
        uri, kind = objects.join(folder, name), _KINDS[extension(name)]
        return Media(
            stable_uid(self.name, key),
            self.name,
            key,
            kind,
            uri,
            payload=read_whole(uri) if kind == "image" else None,
            captions=told.captions,
            label=told.label,
            utterances=told.utterances,
        )

    def _reject(self, folder: str, key: str, reason: str, detail: str) -> Reject:
        uri = printable(objects.join(folder, PurePosixPath(key).name))
        uid = stable_uid(self.name, printable(key))
        return Reject(uid, "source", reason, printable(detail)[:500], self.name, uri)


_REASONS: dict[type[Exception], str] = {
    AnnotationError: "bad_annotation",
    TooLargeError: "too_large",
    objects.MissingError: "missing",
}


@dataclass(frozen=True)
class _Cut:
    """Cuts one folder's listing into input shards."""

    layout: str
    size: int

    def shards(self, folder: Listing) -> Iterator[InputShard]:
        media, beside = _media(folder.sizes), by_stem(folder.sizes)
        for start in range(0, len(media), self.size):
            chosen = {
                name: beside.get(PurePosixPath(name).stem, []) for name in media[start : start + self.size]
            }
            yield self._shard(folder, chosen, start)

    def _shard(self, folder: Listing, names: Mapping[str, list[str]], start: int) -> InputShard:
        sizes = {name: folder.sizes[name] for medium, beside in names.items() for name in (medium, *beside)}
        content = Listing(folder.uri, folder.path, sizes, ()).fingerprint()
        path = printable(folder.path)
        return InputShard(
            hash=stable_uid(self.layout, path, start, content),
            slot=f"{self.layout}/{path}/{start}",
            name=f"{path or '.'} files {start}-{start + len(names) - 1}",
            uri=folder.uri,
            header=json.dumps([folder.path, names]),
            num_rows=len(names),
        )


def _media(names: Mapping[str, int]) -> list[str]:
    kinds = {name: kind for name in names if (kind := _KINDS.get(extension(name)))}
    videos = {stem(name) for name, kind in kinds.items() if kind == "video"}
    return [name for name, kind in kinds.items() if kind == "video" or stem(name) not in videos]
