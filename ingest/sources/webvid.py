"""WebVid (2M, 10M): a results CSV beside `videos/<page_dir>/<videoid>.mp4`."""

from collections.abc import Iterator
from dataclasses import dataclass

from infra import objects
from ingest.records import Media, Reject, stable_uid
from ingest.sources.lists import ListFile
from ingest.sources.source import InputShard


@dataclass(frozen=True)
class WebVid:
    """Videos with one caption each; the key of a video is `page_dir/videoid`."""

    root: str
    list_file: str = "results_train.csv"
    stream: str = "captioned"
    name: str = "webvid"
    narrated: bool = False

    @property
    def _list(self) -> ListFile:
        uri = objects.join(self.root, self.list_file)
        return ListFile(uri, self.name, ("videoid", "page_dir", "name"))

    def shards(self, rows_per_shard: int) -> list[InputShard]:
        """Consecutive rows of the CSV."""
        return self._list.shards(rows_per_shard)

    def read(self, shard: InputShard) -> Iterator[Media | Reject]:
        """One medium per row."""
        for row in self._list.rows(shard):
            key = f"{row['page_dir']}/{row['videoid']}"
            uid = stable_uid(self.name, key)
            uri = objects.join(self.root, "videos", f"{key}.mp4")
            if not row["videoid"] or not row["page_dir"]:
                yield Reject(uid, "source", "bad_row", f"{shard.name}: {row}"[:500], self.name, uri)
            elif not (caption := (row["name"] or "").strip()):
                yield Reject(uid, "source", "no_caption", f"{shard.name}: {key}", self.name, uri)
            else:
                yield Media(uid, self.name, key, "video", uri, captions=(caption,))
