"""YT-Temporal (180M, 1B): a list, mp4 files, and annotations with words, times and denoised text."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from infra import objects
from ingest.formats.annotations import AnnotationError, first_found, provided_utterances
from ingest.formats.lists import ListFile, Row, bad_row, list_uri
from ingest.records import Media, Reject, stable_uid
from ingest.source import InputShard, inside


@dataclass(frozen=True)
class YTTemporal:
    """TVTSv2's layout (section 12); the key of a video is its Name in the list, `<subset>/data/<id>.mp4`.

    Its annotation lies at `videos/<subset>/annotations/<id>.json`, or `.json.gz`; a video without one, or with
    an empty one, has no transcript. The root is the published `data/YTTemporal`.
    """

    root: str
    list_file: str = "yttemporal_train.csv"
    stream: str = "narrated"
    name: str = "yt_temporal"
    narrated: bool = True

    @property
    def _list(self) -> ListFile:
        return ListFile(list_uri(self.root, self.list_file), self.name, ("Name",), delimiter="\t")

    def shards(self, rows_per_shard: int) -> list[InputShard]:
        """Consecutive rows of the list."""
        return self._list.shards(rows_per_shard)

    def read(self, shard: InputShard) -> Iterator[Media | Reject]:
        """One medium per row, with its sentences where it has an annotation."""
        for row in self._list.rows(shard):
            key = row.cell(0)
            path = PurePosixPath(key)
            plain = f"{path.parent.parent}/annotations/{path.stem}.json"
            yield _narrated(self.name, shard, row, key, objects.join(self.root, "videos"), plain)


@dataclass(frozen=True)
class YTTemporal1B:
    """MERLOT Reserve's layout: a CSV with `video_id`, and `<id>/<id>.mp4` beside `<id>/<id>.v2.info.json.gz`.

    The key of a video is `<id>/<id>.mp4`; the packed annotation may also lie unpacked.
    """

    root: str
    list_file: str = "yttemporal1b_ids_train.csv"
    stream: str = "narrated"
    name: str = "yt_temporal_1b"
    narrated: bool = True

    @property
    def _list(self) -> ListFile:
        return ListFile(list_uri(self.root, self.list_file), self.name, ("video_id",))

    def shards(self, rows_per_shard: int) -> list[InputShard]:
        """Consecutive rows of the list."""
        return self._list.shards(rows_per_shard)

    def read(self, shard: InputShard) -> Iterator[Media | Reject]:
        """One medium per row, with its sentences where it has an annotation."""
        for row in self._list.rows(shard):
            video = row.cell(0)
            key = f"{video}/{video}.mp4" if video else ""
            yield _narrated(self.name, shard, row, key, self.root, f"{video}/{video}.v2.info.json")


def _narrated(
    source: str, shard: InputShard, row: Row, key: str, folder: str, annotation: str
) -> Media | Reject:
    """A row's video below `folder` with its transcript, or a Reject: bad_row, bad_annotation."""
    if row.broken or not inside(key):
        return bad_row(source, shard, row, shard.uri)
    uid, uri = stable_uid(source, key), objects.join(folder, key)
    plain = objects.join(folder, annotation)
    try:
        data = first_found(plain, f"{plain}.gz")
        utterances = None if data is None else provided_utterances(data) or None
    except AnnotationError as error:
        return Reject(uid, "source", "bad_annotation", f"{key}: {error}"[:500], source, uri)
    return Media(uid, source, key, "video", uri, utterances=utterances)
