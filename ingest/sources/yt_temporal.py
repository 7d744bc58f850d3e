"""YT-Temporal: a list, mp4 files and annotation JSON with words, times and denoised text (TVTSv2, section 12)."""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from infra import objects
from ingest.records import Media, Reject, Utterance, Word, stable_uid
from ingest.sources.alignment import align_denoised, clean_words
from ingest.sources.lists import ListFile
from ingest.sources.source import InputShard
from ingest.speech.sentences import sentences_of_words


@dataclass(frozen=True)
class YTTemporal:
    """Narrated videos; the key of one is its Name in the list, `<subset>/data/<id>.mp4`.

    Its annotation lies at `videos/<subset>/annotations/<id>.json`, or `.json.gz`; a video without one, or with
    an empty one, has no transcript.
    """

    root: str
    list_file: str = "yttemporal_train.csv"
    stream: str = "narrated"
    name: str = "yt_temporal"
    narrated: bool = True

    @property
    def _list(self) -> ListFile:
        return ListFile(objects.join(self.root, self.list_file), self.name, ("Name",), delimiter="\t")

    def shards(self, rows_per_shard: int) -> list[InputShard]:
        """Consecutive rows of the list."""
        return self._list.shards(rows_per_shard)

    def read(self, shard: InputShard) -> Iterator[Media | Reject]:
        """One medium per row, with its sentences where it has an annotation."""
        for row in self._list.rows(shard):
            key = row["Name"] or ""
            uid, uri = stable_uid(self.name, key), objects.join(self.root, "videos", key)
            if not key:
                yield Reject(uid, "source", "bad_row", f"{shard.name}: {row}"[:500], self.name, uri)
                continue
            try:
                utterances = self._utterances(key)
            except (
                ValueError,
                KeyError,
                TypeError,
                AttributeError,
                EOFError,
                gzip.BadGzipFile,
                zlib.error,
            ) as error:
                detail = f"{key}: {type(error).__name__} {error}"[:500]
                yield Reject(uid, "source", "bad_annotation", detail, self.name, uri)
                continue
            yield Media(uid, self.name, key, "video", uri, utterances=utterances)

    def _utterances(self, key: str) -> tuple[Utterance, ...] | None:
        path = PurePosixPath(key)
        folder = objects.join(self.root, "videos", str(path.parent.parent), "annotations")
        data = _first_found(
            objects.join(folder, f"{path.stem}.json"), objects.join(folder, f"{path.stem}.json.gz")
        )
        return None if data is None else provided_utterances(json.loads(data)) or None


def _first_found(plain: str, packed: str) -> bytes | None:
    try:
        return objects.read_bytes(plain)
    except objects.MissingError:
        pass
    try:
        return gzip.decompress(objects.read_bytes(packed))
    except objects.MissingError:
        return None


def provided_utterances(annotation: Mapping[str, Any]) -> tuple[Utterance, ...]:
    """The sentences of an annotation: of its denoised text where it has one, else of its words."""
    subtitles = annotation.get("subtitles") or []
    words = clean_words([Word(str(item["word"]), float(item["time"])) for item in subtitles])
    denoised = [str(item["cleanasr"]) for item in annotation.get("denoised") or []]
    if any(text.strip() for text in denoised):
        words = align_denoised(words, denoised)
    return sentences_of_words(words, origin="provider")
