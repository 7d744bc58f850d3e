"""Decoding in a killable child against the same in this process: processor time of both processes per film (Linux).

python -m tests.benchmarks.bench_isolation [--quick] [--films FOLDER]
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

from ingest.decode.child import window_frames
from ingest.decode.containers import open_film
from ingest.decode.isolation import Decoder, Limits
from ingest.decode.request import FrameRequest
from tests.benchmarks.films import WEB_FILMS, generate
from tests.benchmarks.paired import timed_in_turns

REQUEST = FrameRequest(0.0, 3600.0, count=12, short_side=256, quality=95, decoder="auto")


def inside(path: Path) -> None:
    """In this process."""
    film = open_film(path)
    window_frames(film, REQUEST)
    film.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="two short films, three repeats")
    parser.add_argument("--films", type=Path, default=Path(tempfile.gettempdir()) / "reelscript_films")
    arguments = parser.parse_args()
    decoder = Decoder(Limits(deadline_s=60, memory_mb=4096))

    def isolated(path: Path) -> None:
        decoder.index(path)
        decoder.frames(path, REQUEST)

    decoder.index(generate(WEB_FILMS[0], arguments.films))  # starts the child
    assert decoder._process is not None
    child_clock = (~decoder._process.pid << 3) | 2  # CPUCLOCK_SCHED of that process

    def both_processes() -> float:
        return time.process_time() + time.clock_gettime(child_clock)

    slowdowns = []
    print(f"{'film':32} {'child ms':>9} {'inside ms':>10} {'slower by':>10}")
    for film in WEB_FILMS[:2] if arguments.quick else WEB_FILMS[:-1]:
        path = generate(film, arguments.films)
        pair = timed_in_turns(
            lambda path=path: isolated(path),  # type: ignore[misc]
            lambda path=path: inside(path),  # type: ignore[misc]
            repeats=3 if arguments.quick else 7,
            clock=both_processes,
        )
        slowdowns.append(1 / pair.ratio - 1)
        times = f"{1000 * pair.ours_s:9.0f} {1000 * pair.other_s:10.0f} {slowdowns[-1]:10.1%}"
        print(f"{film.name:32} {times}")
    decoder.close()
    print(f"isolation_slowdown value={median(slowdowns):.3f} target=<=0.05")


if __name__ == "__main__":
    main()
