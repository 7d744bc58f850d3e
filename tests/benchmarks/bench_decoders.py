"""What decoding costs by codec, key frame distance and frames asked, decoder by decoder: why `auto` is what it is.

    python -m tests.benchmarks.bench_decoders [--quick] [--films FOLDER]

Each decoder opens the same file and gives the same frames as RGB; processor time of one thread, in turns, medians. A
decoder that refuses a file, or is not installed, has no figure. The last line is the lowest ratio of the best other
decoder's time to that of PyAV, which `auto` takes.
"""

import argparse
import importlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from statistics import median
from typing import Any

import imageio_ffmpeg

from ingest.decode.child import middle_indices
from ingest.decode.containers import open_film
from ingest.decode.request import MediaError
from tests.benchmarks.films import Film, generate
from tests.benchmarks.paired import result

PLAIN = Film(640, 360, 10, 12, 0)
ENCODINGS = {
    "h264 gop 12": ("-c:v", "libx264", "-g", "12", "-bf", "0"),
    "h264 gop 250, B": ("-c:v", "libx264", "-g", "250", "-bf", "3"),
    "hevc gop 250, B": ("-c:v", "libx265", "-x265-params", "keyint=250:bframes=4:open-gop=0:log-level=none"),
    "hevc, open gop": ("-c:v", "libx265", "-x265-params", "keyint=48:open-gop=1:log-level=none"),
    "vp9 gop 128": ("-c:v", "libvpx-vp9", "-g", "128", "-deadline", "realtime", "-cpu-used", "6"),
    "av1 gop 160": ("-c:v", "libsvtav1", "-g", "160", "-preset", "10"),
    "mpeg4 gop 12": ("-c:v", "mpeg4", "-q:v", "4", "-g", "12"),
}
ASKED = (4, 12, 24, 250)
DECODERS = ("pyav", "decord", "torchcodec")

Read = Callable[[Any, Sequence[int]], Iterator[Any]]


def main() -> None:
    """Encode what is missing, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="two encodings, two repeats")
    parser.add_argument("--films", type=Path, default=Path(tempfile.gettempdir()) / "reelscript_films")
    arguments = parser.parse_args()
    encodings = dict(list(ENCODINGS.items())[:2]) if arguments.quick else ENCODINGS
    readers = {name: found for name in DECODERS if (found := _reader(name)) is not None}
    print(f"{'encoding':18} {'frames':>6}  " + "".join(f"{name + ' ms':>14}" for name in DECODERS))
    ratios = []
    for name in encodings:
        path = _encoded(name, generate(PLAIN, arguments.films))
        for asked in ASKED:
            times = _times(path, asked, readers, repeats=2 if arguments.quick else 5)
            cells = "".join(f"{1000 * times[d]:14.0f}" if d in times else f"{'–':>14}" for d in DECODERS)
            print(f"{name:18} {asked:6}  {cells}", flush=True)
            ratios += [min(times[d] for d in times if d != "pyav") / times["pyav"]] if len(times) > 1 else []
    result("decoders_lowest", min(ratios), "0.95")


def _reader(name: str) -> Read | None:
    try:
        read: Read = importlib.import_module(f"ingest.decode.{name}_reader").read_frames
    except (ImportError, OSError, RuntimeError):
        return None
    return read


def _encoded(name: str, plain: Path) -> Path:
    path = plain.with_name(f"{plain.stem}_{name.replace(' ', '_').replace(',', '')}.mp4")
    if not path.exists():
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i", str(plain), "-an"]
        subprocess.run(
            [*command, *ENCODINGS[name], "-threads", "1", str(path)], check=True, capture_output=True
        )
    return path


def _times(path: Path, asked: int, readers: dict[str, Read], repeats: int) -> dict[str, float]:
    """Median seconds of each decoder that reads the file."""
    spent: dict[str, list[float]] = {}
    for number, name in ((n, name) for n, names in enumerate(repeat(readers, repeats + 1)) for name in names):
        try:
            seconds = _once(path, asked, readers[name])
        except MediaError:
            continue
        if number:  # the first round warms up
            spent.setdefault(name, []).append(seconds)
    return {name: median(values) for name, values in spent.items()}


def _once(path: Path, asked: int, read: Read) -> float:
    started = time.process_time()
    film = open_film(path)
    for _ in read(film, [int(number) for number in middle_indices(asked, len(film.index.pts))]):
        pass
    film.close()
    return time.process_time() - started


if __name__ == "__main__":
    main()
