"""A system of one's own in one place: `reelscript train tests/trainers/systems/toy/recipe.py:toy`.

The file registers what it brings; nothing else of Reelscript knows of it.
"""

from pipeline.recipe import Data, DataSource, Evaluation, Recipe
from tests.trainers.systems.toy import objectives, protocol, settings, system
from trainers.kinds import register
from trainers.launch_settings import Launch
from trainers.recipe import Begin, Cosine, Optimizer, Pixels, Rate, Ratio, Stage, Stream, Training
from tune.space import Grid, Search

register(settings.Toy, system.SYSTEM)
register(settings.ToyReads)
register(settings.Words, objectives.WordsLoss)
register(settings.Memory, objectives.MemoryLoss)
register(settings.Labels, objectives.LabelsLoss)
register(settings.Colour, objectives.ColourLoss)
register(protocol.Reranked)


def training(steps: int = 4, dropout: float = 0.1, **launch: object) -> Training:
    """Words, memory and colours; then labels as well, with the memory carried on and a head that is new."""
    told = Stream("captioned", 4, settings.ToyReads(), {"toy_words": 1.0, "toy_memory": 1.0}, 4, 2)
    shown = Stream("labelled", 4, settings.ToyReads(), {"toy_colour": 1.0}, 4, 2)
    labelled = Stream("labelled", 4, settings.ToyReads(), {"toy_labels": 1.0, "toy_colour": 0.5}, 4, 2)
    first = (settings.Words(), settings.Memory(), settings.Colour())
    rates = {"heads": Rate(3e-3, ("objectives.*",)), "rest": Rate(1e-3)}
    adamw = Optimizer(
        rates, undecayed=("*norm*", "*bias"), form="torch", course=Cosine(warmup_steps=1, floor=0.1)
    )
    stages = (
        Stage("read", (told, shown), first, steps, adamw, Ratio((2, 1))),
        Stage(
            "label",
            (told, labelled),
            (*first, settings.Labels()),
            steps,
            adamw,
            frozen_below={"fusion": 1},
            begin=Begin(fresh=("objectives.toy_labels",)),
        ),
    )
    setup = Launch(threads=1, log_every=1, checkpoint_every=2, **launch)  # type: ignore[arg-type]
    return Training(settings.Toy(dropout=dropout), Pixels(short_side=16, crop=16), stages, launch=setup)


def toy() -> Recipe:
    """Two stages, a search whose trials train both, and a protocol of two rounds."""
    return Recipe(
        name="toy",
        data=Data(
            "raw", (DataSource("folder", "captioned", "films"), DataSource("folder", "labelled", "films"))
        ),
        training=training(),
        search=Search(
            space={"stages.1.frozen_below.fusion": Grid((1,))},
            variants={"slow": {"stages.0.optimizer.rates.rest.lr": 1e-4}},
            stage=0,
            stages=2,
            metric="reranked/first",
            stream="captioned",
        ),
        evaluation=Evaluation(
            stream="captioned", reads=settings.ToyReads(), protocols=(protocol.Reranked(),), batch_size=4
        ),
        store="clips",
        output="outputs/toy",
    )
