"""Where freezing the lower text blocks helps and where it hurts: the search under several conditions, on the demo.

    python -m tests.experiments.freezing_map [--conditions base,…] [--frozen 0:4] [--seeds 0,1,2] [--steps 320]
                                             [--root outputs/demo] [--out outputs/freezing] [--quick]

The corpus, its shards and the speech model are made below `--root` where they are missing (as `make demo` does).
Every condition is `reelscript tune` on a changed recipe, with an output of its own below `--out`: killed and started
again, it goes on. At the end `--out` holds for each condition its curve (CONDITION.csv, .png), and map.md: per
score the mean and range over the seeds at every number of frozen blocks, and what freezing changes against tuning
everything.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from infra.objects import absolute, join, read_bytes
from pipeline import verbs
from pipeline.demo.corpus import CorpusSize, make_corpus
from pipeline.demo.speech_model import write_checkpoint
from pipeline.recipe import Recipe
from pipeline.recipes.tvtsv2 import tvtsv2_tiny
from pipeline.run.ingest import ingest
from pipeline.run.recipe_run import running
from pipeline.run.search import search
from pipeline.run.train import train_until
from tests.pipeline.run.test_run import shortened
from trainers.recipe import Stage
from tune.curve import best_point, disagreement, points
from tune.results import SearchResult
from tune.space import Search, parse

FROZEN = "stages.1.frozen_below.text"


def _stage(recipe: Recipe, index: int, change: Callable[[Stage], Stage]) -> Recipe:
    stages = list(recipe.training.stages)
    stages[index] = change(stages[index])
    return replace(recipe, training=replace(recipe.training, stages=tuple(stages)))


def _first_stage(steps: int) -> Callable[[Recipe], Recipe]:
    return lambda recipe: _stage(recipe, 0, lambda stage: replace(stage, steps=steps))


def _rate(factor: float) -> Callable[[Recipe], Recipe]:
    """Of all that came with the start weights, the text tower among them: they share one rate."""

    def change(stage: Stage) -> Stage:
        rates = stage.optimizer.rates
        faster = {**rates, "rest": replace(rates["rest"], lr=factor * rates["rest"].lr)}
        return replace(stage, optimizer=replace(stage.optimizer, rates=faster))

    return lambda recipe: _stage(recipe, 1, change)


def _narrated_alone(recipe: Recipe) -> Recipe:
    return _stage(recipe, 1, lambda stage: replace(stage, streams=stage.streams[:1]))


CONDITIONS: dict[str, Callable[[Recipe], Recipe]] = {
    "base": lambda recipe: recipe,
    "short-start": _first_stage(60),
    "long-start": _first_stage(660),
    "slow": _rate(0.1),
    "fast": _rate(4.0),
    "narrated-alone": _narrated_alone,
}


def base(settings: argparse.Namespace) -> Recipe:
    """The tiny recipe on the corpus below the root, which is made if it is missing; with `--quick` a handful of files.

    Scored on the 100 test clips, as nothing else is reported on them here; 50 would tell less.
    """
    tiny, root = tvtsv2_tiny(), absolute(settings.root)
    model = Path(root, "speech_model.pt")
    space = {FROZEN: parse(f"grid:{settings.frozen}")}
    search = replace(tiny.search, space=space, seeds=settings.seeds, steps=settings.steps, stream="test")
    if settings.quick:
        make_corpus(Path(root, "raw"), CorpusSize.tiny())
        tiny = shortened(tiny, root, model, steps=4)
    speech = replace(tiny.ingest.speech, model=str(model))
    recipe = replace(
        tiny,
        data=replace(tiny.data, root=join(root, "raw")),
        ingest=replace(tiny.ingest, speech=speech),
        search=search,
        store=join(root, "clips"),
    )
    if settings.quick:
        write_checkpoint(model)
    else:
        verbs.make_inputs(recipe)
    return recipe


def searched(condition: str, recipe: Recipe, out: str) -> SearchResult:
    """One condition: the shards if they are missing, the first stage, the search."""
    recipe = replace(CONDITIONS[condition](recipe), output=absolute(join(out, condition)))
    with running(recipe, "python -m tests.experiments.freezing_map") as run:
        ingest(run)
        done = search(run, train_until(run, run.searched))
    for kind in ("csv", "png"):
        curve = read_bytes(join(done.result["folder"], f"curve.{kind}"))
        Path(out, f"{condition}.{kind}").write_bytes(curve)
    return SearchResult.from_json(done.result)


def report(condition: str, result: SearchResult) -> str:
    """A condition's table in Markdown, and in one sentence what freezing changed."""
    search = tvtsv2_tiny().search
    names = [number.name for number in result.shown]
    lines = [f"### {condition}", "", f"| frozen | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    starts = [f"{result.start[name]:.4g}" if name in result.start else "–" for name in names]
    lines.append(f"| start weights | {' | '.join(starts)} |")
    for point in points(search, [result]):
        cells = [_cell([trial.metrics[name] for trial in point.trials]) for name in names]
        lines.append(f"| {point.label} | {' | '.join(cells)} |")
    lines += ["", effect(result, search), disagreement(result, search)]
    lines += [
        f"Failed: {', '.join(each.setting.words)}, seed {each.seed}: {each.reason}." for each in result.failed
    ]
    return "\n".join(line for line in lines if line or line == "") + "\n"


def effect(result: SearchResult, search: Search) -> str:
    """Whether some number of frozen blocks beats tuning everything by more than the seeds differ."""
    metric, curve = search.metric, points(search, [result])
    if curve[0].x or len(curve) == 1:
        return ""
    best = best_point(curve[1:], result.shown[0])
    none, some = ([trial.metrics[metric] for trial in point.trials] for point in (curve[0], best))
    gain = fmean(some) - fmean(none)
    apart = min(some) > max(none) or max(some) < min(none)
    verdict = ("helps" if gain > 0 else "hurts") if apart else "cannot be told from the seeds' spread"
    return f"{metric}: the best frozen number, {best.label}, against none: {gain:+.1f} points; freezing {verdict}."


def _cell(values: Sequence[float]) -> str:
    digits = 3 if max(map(abs, values)) <= 1 else 1
    shown = [f"{value:.{digits}f}" for value in (fmean(values), min(values), max(values))]
    return shown[0] if len(values) == 1 else f"{shown[0]} ({shown[1]} to {shown[2]})"


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def main() -> None:
    """See the top."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--conditions", default="base", help=f"of {','.join(CONDITIONS)}")
    words.add_argument("--frozen", default="0:4", help="FIRST:LAST[:STEP] or A,B,…")
    words.add_argument("--seeds", type=_numbers, default=(0, 1, 2))
    words.add_argument("--steps", type=int, default=320)
    words.add_argument("--root", default="outputs/demo")
    words.add_argument("--out", default="outputs/freezing")
    words.add_argument(
        "--quick", action="store_true", help="a handful of files and few steps: only that it runs"
    )
    settings = words.parse_args()
    Path(settings.out).mkdir(parents=True, exist_ok=True)
    recipe = base(settings)
    pages = [report(name, searched(name, recipe, settings.out)) for name in settings.conditions.split(",")]
    Path(settings.out, "map.md").write_text("\n".join(pages))
    sys.stdout.write("\n".join(pages))


if __name__ == "__main__":
    main()
