"""`reelscript run` killed (SIGKILL) in each of its steps and started again: same shards, no finished step done twice.

    python -m tests.faults.fault_run [--quick]

Two runs of the same small corpus: one undisturbed, one killed a moment after each step began. Prints a table, and
ends with one line per target that a program can read.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.demo.corpus import CorpusSize, make_corpus
from pipeline.demo.speech_model import write_checkpoint

RECIPE = """
from pathlib import Path
from pipeline.recipes.tvtsv2 import tvtsv2_tiny
from tests.pipeline.run.test_run import shortened

def {name}():
    return shortened(tvtsv2_tiny(), "{folder}", Path("{model}"), data_root="{raw}", steps=20)
"""
STEPS = ("ingest", "seed-0/stage-stills", "seed-0/search", "seed-0/stage-tvtsv2", "seed-0/evaluate")
LIMIT_S = 600.0


def main() -> None:
    """Run both and compare."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="kill in the first and the third step only")
    quick = arguments.parse_args().quick
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_corpus(folder / "raw", CorpusSize.tiny())
        write_checkpoint(folder / "speech_model.pt")
        undisturbed = start(folder, "undisturbed")
        assert undisturbed.wait(LIMIT_S) == 0, "the undisturbed run failed"
        killed_in = STEPS[::2] if quick else STEPS
        redone = killed_run(folder, killed_in)
        same = shards(folder / "undisturbed") == shards(folder / "killed")
    print(f"killed in {len(killed_in)} of {len(STEPS)} steps")
    print(f"fault_run_same_shards value={int(same)} target=1")
    print(f"fault_run_steps_redone value={redone} target=<=0")
    sys.exit(0 if same and redone == 0 else 1)


def killed_run(folder: Path, killed_in: tuple[str, ...]) -> int:
    """Start, kill in each of the steps, and let the last start finish; how many finished steps were done twice."""
    draw = random.Random(0)
    kept: dict[str, int] = {}
    for step in killed_in:
        before = STEPS[: STEPS.index(step)]
        process = start(folder, "killed")
        wait_for([record(folder, name) for name in before], process)
        kept |= {name: record(folder, name).stat().st_mtime_ns for name in before if name not in kept}
        time.sleep(draw.uniform(1.0, 8.0) if before else 12.0)  # Ray's own start takes the first ten seconds
        alive = process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        done = record(folder, step).exists()
        print(f"killed in {step:22} {'after it was recorded' if done else 'while it ran'}, alive: {alive}")
        time.sleep(3.0)
    assert start(folder, "killed").wait(LIMIT_S) == 0, "the last start failed"
    return sum(record(folder, name).stat().st_mtime_ns != written for name, written in kept.items())


def start(folder: Path, name: str) -> "subprocess.Popen[bytes]":
    """`reelscript run` on a recipe of its own, in a process group of its own."""
    recipe = folder / f"{name}.py"
    raw, model = folder / "raw", folder / "speech_model.pt"
    recipe.write_text(RECIPE.format(name=name, folder=folder / name, model=model, raw=raw))
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", "run", f"{recipe}:{name}"],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )


def record(folder: Path, step: str) -> Path:
    """The object that says that a step is finished."""
    return folder / "killed" / "run" / "steps" / f"{step}.json"


def wait_for(files: list[Path], process: "subprocess.Popen[bytes]") -> None:
    """Until all exist; fails when the process ends before or takes too long."""
    until = time.monotonic() + LIMIT_S
    while not all(file.exists() for file in files):
        assert process.poll() is None, "the run ended before the step began"
        assert time.monotonic() < until, "the step was not reached in time"
        time.sleep(0.1)


def shards(folder: Path) -> dict[str, str]:
    """Digest of every Parquet file of a run's store by its place in it."""
    store = folder / "clips"
    return {
        str(file.relative_to(store)): hashlib.blake2b(file.read_bytes()).hexdigest()
        for file in sorted(store.rglob("*.parquet"))
    }


if __name__ == "__main__":
    main()
