"""The decode stage against decord's `get_batch`: 12 frames a clip, short side 256, one core.

    python -m tests.benchmarks.bench_decode [--quick] [--films FOLDER]

Both sides open the file, take the same 12 frames and resize them alike; processor time of one thread. Films are
generated (`films.py`) into the folder once and kept.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import geometric_mean

import decord
import numpy as np
from numpy.typing import NDArray

from ingest.decode import pyav_reader
from ingest.decode.child import middle_indices
from ingest.decode.containers import open_film
from ingest.decode.images import resize_short_side
from tests.benchmarks.films import WEB_FILMS, generate
from tests.benchmarks.paired import result, timed_in_turns

NUM_FRAMES, SHORT_SIDE = 12, 256


def ours(path: Path) -> list[NDArray[np.uint8]]:
    """What the stage does between opening a file and encoding its frames."""
    film = open_film(path)
    wanted = [int(number) for number in middle_indices(NUM_FRAMES, len(film.index.pts))]
    frames = [resize_short_side(frame, SHORT_SIDE) for frame in pyav_reader.read_frames(film, wanted)]
    film.close()
    return frames


def by_decord(path: Path) -> list[NDArray[np.uint8]]:
    """The same with decord."""
    reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
    wanted = [int(number) for number in middle_indices(NUM_FRAMES, len(reader))]
    return [resize_short_side(frame, SHORT_SIDE) for frame in reader.get_batch(wanted).asnumpy()]


def main() -> None:
    """Generate what is missing, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="three short films, two repeats")
    parser.add_argument("--films", type=Path, default=Path(tempfile.gettempdir()) / "reelscript_films")
    arguments = parser.parse_args()
    films = [film for film in WEB_FILMS if film.height <= 360] if arguments.quick else WEB_FILMS
    ratios = []
    print(f"{'film':32} {'ours ms':>8} {'decord ms':>10} {'ratio':>6}  largest difference of a pixel")
    for film in films:
        path = generate(film, arguments.films)
        pairs = zip(ours(path), by_decord(path), strict=True)
        difference = max(int(np.abs(a.astype(int) - b).max()) for a, b in pairs)
        pair = timed_in_turns(
            lambda path=path: ours(path),  # type: ignore[misc]
            lambda path=path: by_decord(path),  # type: ignore[misc]
            repeats=2 if arguments.quick else 7,
            clock=time.process_time,
        )
        ratios.append(pair.ratio)
        times = f"{1000 * pair.ours_s:8.0f} {1000 * pair.other_s:10.0f} {pair.ratio:6.2f}"
        print(f"{film.name:32} {times}  {difference}")
    result("decode_geometric_mean", geometric_mean(ratios), "1.30")
    result("decode_lowest", min(ratios), "0.95")


if __name__ == "__main__":
    main()
