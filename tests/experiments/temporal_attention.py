"""Does the temporal attention learn, and from which start?   Conclusions: trainers/models/README.md

    python -m tests.experiments.temporal_attention demo        # the tiny recipe, on the shards that `make demo` made
    python -m tests.experiments.temporal_attention motions     # clips in which motions alone differ
    python -m tests.experiments.temporal_attention table       # what is known so far, in markdown

Each run is one line of results.jsonl in the folder of --work; a sweep that was killed goes on where it stopped. One
thread, no Ray.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.evaluation.evaluate import read_captions
from tests.experiments.on_demo import Demo
from tests.experiments.on_motions import Motions
from tests.experiments.tables import Run, read_runs, tables
from tests.experiments.variants import FLOOR, OPTIMIZERS, STARTS, Variant

MOTIONS = {
    "motions": Motions(),
    "out_of_step": Motions(in_step=False, steps=1000, rate=5e-4, warmup_steps=100),
    "things_mixed": Motions(things="mixed", steps=1000),
    "thing_a_batch": Motions(things="one_a_batch", steps=1000),
}


def main() -> None:
    """Run what is missing, or print the tables."""
    arguments = _parser().parse_args()
    results = arguments.work / "results.jsonl"
    if arguments.what == "table":
        sys.stdout.write(tables(read_runs(results)))
        return
    arguments.work.mkdir(parents=True, exist_ok=True)
    study, variants = _study(arguments)
    for seed in arguments.seeds:
        for name in arguments.variants or variants:
            if not done(results, arguments.what, name, seed):
                found = record(results, arguments.what, name, seed, study.run(variants[name], seed))
                sys.stdout.write(f"{name} seed {seed}: plateau left at {found['left_at']}\n")


def record(results: Path, study: str, variant: str, seed: int, found: Mapping[str, Any]) -> Run:
    """Add a run to the file."""
    run = {"study": study, "variant": variant, "seed": seed, **found}
    with results.open("a") as file:
        file.write(json.dumps(run) + "\n")
    return run


def _study(arguments: argparse.Namespace) -> tuple[Demo | Motions, dict[str, Variant]]:
    """What is asked for, and the variants that it compares."""
    if arguments.what == "demo":
        return Demo(
            arguments.store, read_captions(arguments.captions, "yt_temporal"), arguments.work
        ), STARTS | OPTIMIZERS
    return MOTIONS[arguments.what], STARTS | FLOOR


def done(results: Path, study: str, variant: str, seed: int) -> bool:
    """Whether that run is in the file."""
    key = (study, variant, seed)
    return any((run["study"], run["variant"], run["seed"]) == key for run in read_runs(results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("demo", *MOTIONS, "table"))
    parser.add_argument("--store", default="outputs/demo/clips", help="the demo's shards")
    parser.add_argument("--captions", default="outputs/demo/raw/held_out/captions.json")
    parser.add_argument(
        "--work", type=Path, default=Path("outputs/experiments"), help="weights and results.jsonl"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="*", help="names of variants.py; all of them")
    return parser


if __name__ == "__main__":
    main()
