"""Three tiny archives in the published layouts, broken files among them."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

from ingest.source import Source
from ingest.sources.cc12m import CC12M
from ingest.sources.webvid import WebVid
from ingest.sources.yt_temporal import YTTemporal
from pipeline.demo.broken import BREAKAGES
from tests.ingest.media_files import jpeg, spoken, write_tar, write_video

SENTENCES = ("One is here.", "Two comes.", "Three goes.", "Four stays.")


def write_webvid(root: Path, num_videos: int = 3, broken: bool = False) -> WebVid:
    """`num_videos` good videos, then the five broken ones where asked."""
    rows = ["videoid,contentUrl,duration,page_dir,name"]
    for number in range(num_videos):
        write_video(root / f"videos/p/{number}.mp4")
        rows.append(f'{number},http://x,PT1S,p,"caption, number {number}"')
    for name, make in BREAKAGES.items() if broken else ():
        make(root / f"videos/p/{name}.mp4")
        rows.append(f"{name},http://x,PT1S,p,a broken file")
    (root / "results_train.csv").write_text("\n".join(rows) + "\n")
    return WebVid(str(root))


def write_cc12m(root: Path, num_images: int = 5) -> CC12M:
    """One tar as img2dataset writes it."""
    members: dict[str, bytes] = {}
    for number in range(num_images):
        facts = {"caption": f"still {number}", "key": f"{number:09}", "status": "success"}
        members[f"{number:09}.jpg"] = jpeg(level=10 * number + 20)
        members[f"{number:09}.json"] = json.dumps(facts).encode()
        members[f"{number:09}.txt"] = f"still {number}".encode()
    write_tar(root / "00000.tar", members)
    return CC12M(str(root))


def write_yt_temporal(root: Path, annotated: int = 2, unannotated: int = 0) -> YTTemporal:
    """Spoken videos; the annotation of every second annotated one is packed."""
    names = ["Name"]
    for number in range(annotated + unannotated):
        write_video(
            root / f"videos/s/data/v{number}.mp4", rate=5, sound=spoken(*SENTENCES, lead_s=0.5, gap_s=0.4)
        )
        names.append(f"s/data/v{number}.mp4")
        if number < annotated:
            data = json.dumps(annotation()).encode()
            packed = number % 2 == 1
            path = root / f"videos/s/annotations/v{number}.json{'.gz' if packed else ''}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(data) if packed else data)
    (root / "yttemporal_train.csv").write_text("\n".join(names) + "\n")
    return YTTemporal(str(root))


def annotation() -> dict[str, object]:
    """Words a third of a second apart, and their punctuated text."""
    words = " ".join(SENTENCES).lower().replace(".", "").split()
    subtitles = [{"word": word, "time": 0.5 + number / 3} for number, word in enumerate(words)]
    return {"info": {"duration": 5}, "subtitles": subtitles, "denoised": [{"cleanasr": " ".join(SENTENCES)}]}


def sources(root: Path, make_webvid: Callable[[Path], WebVid] = write_webvid) -> tuple[Source, ...]:
    """One archive of each layout."""
    return (
        make_webvid(root / "webvid"),
        write_cc12m(root / "cc12m"),
        write_yt_temporal(root / "yt_temporal"),
    )
