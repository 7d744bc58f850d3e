"""The demo's video archives: list files as WebVid and YT-Temporal write them, and the films they name."""

import base64
import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.demo.films import Film
from pipeline.demo.grammar import evaluation_caption, narration, ordered_caption
from pipeline.demo.plans import Story

_VIDEOS_PER_PAGE = 50


class WebVidArchive:
    """`results_train.csv` and `videos/<page_dir>/<videoid>.mp4`: silent videos captioned in register B."""

    _COLUMNS = ("videoid", "contentUrl", "duration", "page_dir", "name")

    def __init__(self, root: Path, seed: int, event_s: float) -> None:
        self.films: list[Film] = []
        self._root, self._seed, self._event_s = root, seed, event_s
        self._rows: list[tuple[str, ...]] = []

    def add(self, story: Story) -> Path:
        """List a video of the story and plan its film; its path."""
        path = self._list(story)
        self.films.append(Film(path, story, (self._seed, 1, len(self._rows))))
        return path

    def add_unmade(self, story: Story) -> Path:
        """List a video of the story, as if it were fine, whose file someone else writes; its path."""
        return self._list(story)

    def write_lists(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        _write_table(self._root / "results_train.csv", self._COLUMNS, self._rows, ",")

    def _list(self, story: Story) -> Path:
        number = len(self._rows)
        videoid = str(1_060_000_000 + number)
        page = number // _VIDEOS_PER_PAGE * _VIDEOS_PER_PAGE
        page_dir = f"{page + 1:06d}_{page + _VIDEOS_PER_PAGE:06d}"
        url = f"https://videos.example/{videoid}.mp4"
        duration = f"PT00H00M{round(len(story) * self._event_s):02d}S"
        self._rows.append((videoid, url, duration, page_dir, ordered_caption(story)))
        return self._root / "videos" / page_dir / f"{videoid}.mp4"


class NarratedArchive:
    """`meta_data/yttemporal_<split>.csv` and `videos/<split>/{data,annotations}/`: register A, spoken."""

    def __init__(self, root: Path, seed: int, event_s: float) -> None:
        self.films: list[Film] = []
        self._root, self._seed, self._event_s = root, seed, event_s
        self._names: dict[str, list[tuple[str, Story]]] = {}

    def add(self, split: str, story: Story, annotated: bool) -> Path:
        """List a video of the story, plan its film and, if wanted, its annotation file; its path."""
        path = self.add_unmade(split, story)
        transcript = path.parents[1] / "annotations" / f"{path.stem}.json" if annotated else None
        seed = (self._seed, 2, *split.encode(), len(self._names[split]))
        self.films.append(Film(path, story, seed, spoken=True, annotation=transcript))
        return path

    def add_unmade(self, split: str, story: Story) -> Path:
        """List a video of the story, as if it were fine, whose file someone else writes; its path."""
        listed = self._names.setdefault(split, [])
        name = f"{split}/data/{self._video_id(split, len(listed))}.mp4"
        listed.append((name, story))
        return self._root / "videos" / name

    def write_lists(self) -> None:
        folder = self._root / "meta_data"
        folder.mkdir(parents=True, exist_ok=True)
        for split, listed in self._names.items():
            rows = [(name, f"{len(story) * self._event_s:g}") for name, story in listed]
            _write_table(folder / f"yttemporal_{split}.csv", ("Name", "Duration"), rows, "\t")

    def write_captions(self, path: Path) -> None:
        """For each name its texts: the sentences of register A, the captions of B and D."""
        listed = [pair for split in self._names.values() for pair in split]
        path.write_text(json.dumps({name: captions(story) for name, story in listed}, indent=1))

    def _video_id(self, split: str, number: int) -> str:
        """Eleven characters, as YouTube's."""
        digest = hashlib.sha256(f"{self._seed}/{split}/{number}".encode()).digest()
        return base64.b32encode(digest).decode().lower()[:11]


def captions(story: Story) -> dict[str, str | list[str]]:
    """What a video of the story is called in each register."""
    return {
        "A": [narration(event) for event in story],
        "B": ordered_caption(story),
        "D": evaluation_caption([event.thing for event in story]),
    }


def _write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]], delimiter: str) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
