"""A plain folder of videos or images, at any depth, with .txt, .srt, .vtt or .json beside each file."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from infra import objects
from infra.errors import UserError
from ingest.formats.annotations import AnnotationError
from ingest.formats.folders import Listing, TooLargeError, read_whole, walk
from ingest.formats.sidecars import by_stem, extension, read_sidecars, stem
from ingest.records import Kind, Media, Reject, stable_uid
from ingest.source import InputShard, printable

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
        return self.shards_with(rows_per_shard, ())

    def shards_with(self, rows_per_shard: int, slots: Collection[str]) -> list[InputShard]:
        """The same where some are committed: those keep their media, and files that came since make further ones.

        A committed shard of which a file is gone is none of them any more; what was made of it stays in the store.
        """
        known: dict[str, list[list[str]]] = {}
        for slot in slots:
            path, names = json.loads(slot.removeprefix(self.name))
            known.setdefault(path, []).append(names)
        shards = [
            shard
            for folder in walk(self.root, self.path)
            for shard in _Cut(self.name, rows_per_shard, known.get(folder.path, ())).shards(folder)
        ]
        if not shards and not known:
            uri = objects.join(self.root, self.path)
            raise UserError(f"{uri}: no video or image lies below this folder")
        return shards

    def read(self, shard: InputShard) -> Iterator[Media | Reject]:
        """One medium per file, an image with its bytes."""
        path, names = json.loads(shard.header)
        for name, sidecars in names.items():
            key = f"{path}/{name}".strip("/")
            if key != printable(key):
                yield self._reject(shard.uri, key, "bad_name", f"{key}: the name is no text")
                continue
            try:
                yield self._medium(shard.uri, key, name, sidecars)
            except (AnnotationError, TooLargeError, objects.MissingError) as error:
                reason = _REASONS[type(error)]
                yield self._reject(shard.uri, key, reason, f"{key}: {error}")

    def _medium(self, folder: str, key: str, name: str, sidecars: list[str]) -> Media | Reject:
        sidecar = read_sidecars(folder, name, sidecars)
        if not self.narrated and not sidecar.captions:
            return self._reject(
                folder, key, "no_caption", f"{key}: {', '.join(sidecars) or 'nothing beside it'}"
            )
        uri, kind = objects.join(folder, name), _KINDS[extension(name)]
        return Media(
            stable_uid(self.name, key),
            self.name,
            key,
            kind,
            uri,
            payload=read_whole(uri) if kind == "image" else None,
            captions=sidecar.captions,
            label=sidecar.label,
            utterances=sidecar.utterances,
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
    known: Sequence[Sequence[str]]
    """Media of the shards that are committed."""

    def shards(self, folder: Listing) -> Iterator[InputShard]:
        sidecars = by_stem(folder.sizes)
        done = {name for names in self.known for name in names}
        if len(done) < sum(map(len, self.known)):
            raise UserError(
                f"{folder.uri}: two runs at a time have ingested some of its files twice, since files came between "
                "them; use another store"
            )
        # Cut in order, so that a run that stops leaves to the next one the shards that it did not come to.
        left = [name for name in _media(folder.sizes) if name not in done]
        cuts = [left[start : start + self.size] for start in range(0, len(left), self.size)]
        for names in (*self.known, *cuts):
            if all(name in folder.sizes for name in names):
                yield self._shard(
                    folder, {name: sidecars.get(PurePosixPath(name).stem, []) for name in names}
                )

    def _shard(self, folder: Listing, names: Mapping[str, list[str]]) -> InputShard:
        sizes = {name: folder.sizes[name] for medium, beside in names.items() for name in (medium, *beside)}
        content = Listing(folder.uri, folder.path, sizes, ()).fingerprint()
        path, first = printable(folder.path), printable(next(iter(names)))
        return InputShard(
            hash=stable_uid(self.layout, path, content),
            slot=self.layout + json.dumps([folder.path, list(names)]),
            name=f"{len(names)} files of {path or '.'} from {first}",
            uri=folder.uri,
            header=json.dumps([folder.path, names]),
            num_rows=len(names),
        )


def _media(names: Mapping[str, int]) -> list[str]:
    kinds = {name: kind for name in names if (kind := _KINDS.get(extension(name)))}
    videos = {stem(name) for name, kind in kinds.items() if kind == "video"}
    return [name for name, kind in kinds.items() if kind == "video" or stem(name) not in videos]
