"""WebVid (2M, 10M): a results CSV or TVTSv2's TSV beside mp4 files, or the tars that video2dataset writes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from infra import objects
from ingest.formats import downloads
from ingest.formats import tars as webdataset
from ingest.formats.lists import ListFile, Row, bad_row, list_uri
from ingest.records import Media, Reject, stable_uid
from ingest.source import InputShard, inside


@dataclass(frozen=True)
class WebVid:
    """`videoid,contentUrl,duration,page_dir,name` and `videos/<page_dir>/<videoid>.mp4`.

    Columns go by name, so both releases and subsets of them read alike; a video's key is `page_dir/videoid`.
    """

    root: str
    list_file: str = "results_train.csv"
    stream: str = "captioned"
    name: str = "webvid"
    narrated: bool = False

    @property
    def _list(self) -> ListFile:
        uri = list_uri(self.root, self.list_file)
        return ListFile(uri, self.name, ("page_dir", "videoid", "name"))

    def shards(self, rows_per_shard: int) -> list[InputShard]:
        """Consecutive rows of the CSV."""
        return self._list.shards(rows_per_shard)

    def read(self, shard: InputShard) -> Iterator[Media | Reject]:
        """One medium per row."""
        for row in self._list.rows(shard):
            page_dir, videoid = row.cell(0), row.cell(1)
            key = f"{page_dir}/{videoid}" if page_dir and videoid else ""
            uri = objects.join(self.root, "videos", f"{key}.mp4")
            yield _captioned(self.name, shard, row, key, uri, row.cell(2))


@dataclass(frozen=True)
class WebVidTSV:
    """TVTSv2's list (section 12): caption, TAB, path without extension, below a header that is not looked at.

    The root is the published `data/WebVid`; videos lie at `<split>/<path>.mp4`, with the split in the list's name
    (`webvid_<split>.tsv`).
    """

    root: str
    list_file: str = "../../meta_data/webvid_train.tsv"
    stream: str = "captioned"
    name: str = "webvid"
    narrated: bool = False

    @property
    def _list(self) -> ListFile:
        return ListFile(list_uri(self.root, self.list_file), self.name, delimiter="\t")

    def shards(self, rows_per_shard: int) -> list[InputShard]:
        """Consecutive rows of the TSV."""
        return self._list.shards(rows_per_shard)

    def read(self, shard: InputShard) -> Iterator[Media | Reject]:
        """One medium per row."""
        split = PurePosixPath(self.list_file).stem.rpartition("_")[2]
        for row in self._list.rows(shard):
            key = row.cell(1)
            uri = objects.join(self.root, split, f"{key}.mp4")
            yield _captioned(self.name, shard, row, key, uri, row.cell(0))


@dataclass(frozen=True)
class WebVidTars:
    """Tars with mp4, txt (the caption) and json (status); see `downloads`."""

    root: str
    stream: str = "captioned"
    name: str = "webvid"
    narrated: bool = False

    def shards(self, rows_per_shard: int) -> list[InputShard]:
        """One per tar below the root."""
        return webdataset.tar_shards(self.root, self.name)

    def read(self, shard: InputShard) -> Iterator[Media | Reject]:
        """One medium per sample, with its bytes."""
        yield from downloads.read_tar(shard, downloads.VIDEO, self.name)


def _captioned(source: str, shard: InputShard, row: Row, key: str, uri: str, caption: str) -> Media | Reject:
    if row.broken or not inside(key):
        return bad_row(source, shard, row)
    uid = stable_uid(source, key)
    if not caption:
        return Reject(uid, "source", "no_caption", f"{shard.name}: {key}"[:500], source, uri)
    return Media(uid, source, key, "video", uri, captions=(caption,))
