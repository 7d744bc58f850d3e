"""Archives with broken files: whatever is in them, a source gives media and Rejects, or says one sentence."""

import contextlib
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.errors import UserError
from ingest.records import Media, Reject, to_table
from ingest.source import Source
from ingest.sources.cc12m import CC12M, CC12MFiles, CC12MParquet
from ingest.sources.folder import Folder
from ingest.sources.webvid import WebVid
from ingest.sources.yt_temporal import YTTemporal
from tests.ingest.sources.reading import read_all, write_list
from tests.ingest.sources.test_cc12m import facts, write_files, write_parquet, write_tars
from tests.ingest.sources.test_folder import SRT, write
from tests.ingest.sources.test_yt_temporal import VTT, write_annotations

ROWS = [facts(number) for number in range(8)]
SEGMENTS = {"segments": [{"text": "One.", "start": 1, "end": 2}], "captions": ["one"], "label": "x"}


def write_webvid_list(root: Path) -> None:
    rows = [f'{number},u,PT1S,p,"caption, {number}"' for number in range(20)]
    write_list(root, "results_train.csv", "videoid,contentUrl,duration,page_dir,name", *rows)


def write_folder(root: Path) -> None:
    texts = {"a.srt": SRT, "b.vtt": VTT, "c.json": json.dumps(SEGMENTS), "d.txt": "a caption"}
    write(root, {**texts, **{f"{name}.mp4": "" for name in "abcd"}})


ARCHIVES: dict[str, tuple[Callable[[Path], None], Callable[[str], Source]]] = {
    "csv": (write_webvid_list, WebVid),
    "tars": (lambda root: write_tars(root, ROWS), CC12M),
    "parquet": (lambda root: write_parquet(root / "0.parquet", ROWS, 4), CC12MParquet),
    "files": (lambda root: write_files(root, ROWS), CC12MFiles),
    "annotations": (write_annotations, YTTemporal),
    "folder": (write_folder, lambda root: Folder(root, narrated=True)),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_broken_file_costs_media_and_never_the_run(tmp_path: Path, name: str) -> None:
    make, opened = ARCHIVES[name]
    make(tmp_path)
    generator = random.Random(name)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    for _ in range(60):
        broken = generator.choice(files)
        content = broken.read_bytes()
        broken.write_bytes(mutated(content, generator))
        with contextlib.suppress(UserError):  # e.g. a list without its columns
            items = read_all(opened(str(tmp_path)), rows_per_shard=4)
            to_table(Media, [item for item in items if isinstance(item, Media)])
            to_table(Reject, [item for item in items if isinstance(item, Reject)])
        broken.write_bytes(content)


def mutated(content: bytes, generator: random.Random) -> bytes:
    """Bits turned over, stretches lost, doubled or cut off, marks put in."""
    data = bytearray(content)
    for _ in range(generator.choice([1, 1, 3, 10])):
        place = generator.randrange(len(data) + 1)
        match generator.randrange(5):
            case 0 if place < len(data):
                data[place] ^= 1 << generator.randrange(8)
            case 1:
                data[place : place + 1] = generator.choice([b"\0", b"\xff", b'"', b"\n", b"{", b"\\"])
            case 2:
                del data[place : place + generator.randrange(200)]
            case 3:
                data[place:place] = data[: generator.randrange(400)]
            case _:
                del data[place + generator.randrange(2000) :]
    return bytes(data)
