"""The command line: `reelscript VERB RECIPE [fields]`. tyro derives every flag from the recipe's dataclasses."""

import difflib
import errno
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import tyro
from rich.console import Console

from infra.errors import UserError, causes, reason_of, unwrapped
from pipeline.recipe import Recipe
from pipeline.recipes.resolve import OURS, resolve

Options = TypeVar("Options")
Flat = Annotated[Recipe, tyro.conf.arg(name="")]

USAGE = """[bold]reelscript[/] VERB RECIPE \\[fields]     from raw video archives to video-text models on Ray

  [bold]demo[/]        the whole of it on a small narrated corpus, offline; ends with a table and a page
  [bold]run[/]         ingest, train, search, evaluate and report in order; finished steps are skipped
  [bold]ingest[/]      raw archives to train-ready shards; what cannot be used is set aside with its reason
  [bold]tune[/]        search any field of the recipe, such as how many blocks to freeze
  [bold]train[/]       the recipe's stages on the shards
  [bold]evaluate[/]    the recipe's scores of a checkpoint, beside chance
  [bold]quarantine[/]  what was set aside and why; one medium or all tried again
  [bold]export[/]      a checkpoint as files for others: config, weights, model card; or in a layout of its system
  [bold]doctor[/]      what is missing on this machine or cluster, in one table

Recipes: {recipes}, or file.py:function of your own.
[bold]reelscript VERB RECIPE --help[/] lists every field with its type, unit and default. --debug shows tracebacks."""
VERB_USAGE = """[bold]reelscript {verb}[/] RECIPE \\[fields]

{what}

Recipes: {recipes}, or file.py:function of your own.
[bold]reelscript {verb} RECIPE --help[/] lists every field with its type, unit and default."""


@dataclass(frozen=True)
class Run:
    """Ingest, train the first stages, search, train the last, evaluate, report. Finished steps are skipped."""

    recipe: Flat
    """The recipe; its fields are the flags."""


@dataclass(frozen=True)
class Ingest:
    """Raw archives to train-ready shards. Running again does what is missing and says so."""

    recipe: Flat
    """The recipe; its fields are the flags."""
    export: Literal["webdataset"] | None = None
    """Also write the shards as WebDataset tars, for other trainers, into STORE/STREAM/webdataset."""


@dataclass(frozen=True)
class Tune:
    """Search what `search.space` of the recipe names; each trial is a training run of its own."""

    recipe: Flat
    """The recipe; its fields are the flags."""


@dataclass(frozen=True)
class Train:
    """Train the recipe's stages, one after the other; resumes from the last checkpoint."""

    recipe: Flat
    """The recipe; its fields are the flags."""
    stream: bool = False
    """Take the clips straight from the archives, as ingest would make them, and write no shards."""


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a checkpoint beside chance, random weights and the weights it started from."""

    recipe: Flat
    """The recipe; its fields are the flags."""
    checkpoint: str | None = None
    """Folder or URI of a checkpoint; None: the one that `run` or `train` ended with."""


@dataclass(frozen=True)
class Demo:
    """Make the narrated corpus and run the tiny recipe on it, once per seed."""

    recipe: Flat
    """The recipe; its fields are the flags."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of training; with several, a table with their spread is added."""


@dataclass(frozen=True)
class Quarantine:
    """What ingest set aside, by reason; one medium tried again, or all of them."""

    recipe: Flat
    """The recipe; its fields are the flags."""
    only: str | None = None
    """Id of one medium: say what becomes of it now, on this machine; nothing is stored."""
    retry: bool = False
    """Make the input shards that hold rejects anew, as ingest would."""
    reasons: tuple[str, ...] = ()
    """With --retry: only those with these reasons, e.g. missing or fetch/missing."""


@dataclass(frozen=True)
class Export:
    """Write a checkpoint as files that others can use: weights, what is needed to embed with them, a model card."""

    checkpoint: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHECKPOINT")]
    """Folder or URI of a checkpoint; or the output of a run, or its recipe: the checkpoint that its training ended
    with."""
    folder: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """Folder or URI to write; empty, absent, or the same export."""
    layout: str = "reelscript"
    """"reelscript": config.json and model.safetensors, to load and for --init; or a layout of the system's own:
    "tvtsv2", TVTSv2.pth as the released files are."""
    metrics: str | None = None
    """Numbers for the model card: evaluate.json of a run (OUTPUT/steps/seed-0), or a JSON file {metric: number}."""
    recipe: str | None = None
    """`file.py:function` of a recipe that registers a system of one's own; the checkpoint names only its kind."""


@dataclass(frozen=True)
class Doctor:
    """Check this machine: packages, codecs, Ray, storage, tracking."""

    store: str | None = None
    """Folder or s3:// URI to check for reading and writing."""
    address: str | None = None
    """Ray cluster to check."""


def work(options: Any, command: str) -> None:
    """Do what the verb's options say. Imported late: `--help` needs neither Ray nor torch."""
    if isinstance(options, Ingest) and options.export is None:
        from pipeline.run.idle import ingested_before

        if ingested_before(options.recipe):
            return
    from pipeline import verbs
    from pipeline.quarantine import quarantine

    match options:
        case Demo():
            verbs.run_demo(options.recipe, command, options.seeds)
        case Run():
            verbs.run_all(options.recipe, command)
        case Ingest():
            verbs.run_ingest(options.recipe, command, options.export)
        case Tune():
            verbs.run_tune(options.recipe, command)
        case Train():
            verbs.run_train(options.recipe, command, options.stream)
        case Evaluate():
            verbs.run_evaluate(options.recipe, command, options.checkpoint)
        case Quarantine():
            quarantine(options.recipe, command, options.only, options.retry, options.reasons)


VERBS: dict[str, type[Any]] = {
    "demo": Demo,
    "run": Run,
    "ingest": Ingest,
    "tune": Tune,
    "train": Train,
    "evaluate": Evaluate,
    "quarantine": Quarantine,
}

OTHER_WORDS = {
    **dict.fromkeys(("search", "sweep", "hpo"), "tune"),
    **dict.fromkeys(("eval", "test", "score", "validate"), "evaluate"),
    **dict.fromkeys(("fit", "finetune", "pretrain"), "train"),
    **dict.fromkeys(("prepare", "process", "transcribe", "decode"), "ingest"),
    **dict.fromkeys(("check", "info"), "doctor"),
    **dict.fromkeys(("rejects", "retry"), "quarantine"),
    **dict.fromkeys(("save", "publish"), "export"),
}
"""What else people call a verb."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb; exits with 0, 1 (it failed), or 2 (it was not understood)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        sys.exit(dispatch(words))
    except BrokenPipeError:  # whoever read our lines has seen enough of them
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # nor may the exit try to write the rest
        sys.exit(0)
    except KeyboardInterrupt:
        fail("Stopped. Finished steps and committed shards are kept; the same command continues.", 130)
    except Exception as error:
        if debug:
            traceback.print_exc()
        fail(explain(error), 1)


def dispatch(words: list[str]) -> int:
    """Find the verb and the recipe, read the fields, do it."""
    if not words or words[0] in ("-h", "--help"):
        Console().print(USAGE.format(recipes=", ".join(OURS)), highlight=False, soft_wrap=True)
        return 0
    verb, rest = words[0], words[1:]
    if verb == "doctor":
        from pipeline.doctor import doctor

        options = parse(Doctor, None, f"reelscript {verb}", rest)
        return doctor(options.store, options.address)
    if verb == "export":
        from pipeline.export.export import export, show

        asked = tyro.cli(Export, args=rest, prog="reelscript export")
        if asked.recipe:
            resolve(asked.recipe)
        show(export(asked.checkpoint, asked.folder, asked.layout, asked.metrics))
        return 0
    if verb not in VERBS:
        raise UserError(unknown_verb(verb))
    if verb == "demo" and (not rest or rest[0].startswith("-")):
        rest = ["tvtsv2-tiny", *rest]
    if rest and rest[0] in ("-h", "--help"):
        usage = VERB_USAGE.format(verb=verb, what=VERBS[verb].__doc__, recipes=", ".join(OURS))
        Console().print(usage, highlight=False, soft_wrap=True)
        return 0
    if not rest:
        raise UserError(f"Name a recipe: reelscript {verb} RECIPE, with RECIPE one of {', '.join(OURS)}.")
    options = parse(VERBS[verb], resolve(rest[0]), f"reelscript {verb} {rest[0]}", rest[1:])
    work(options, shlex.join(["reelscript", *words]))
    return 0


def parse(form: type[Options], recipe: Recipe | None, program: str, words: list[str]) -> Options:
    """The options of a verb. A name that is no field is answered with its nearest match."""
    default = form() if recipe is None else form(recipe)  # type: ignore[call-arg]
    # One of several kinds is chosen in the recipe; the command line changes the fields of the chosen one.
    chosen = (tyro.conf.AvoidSubcommands,)
    options, unknown = tyro.cli(
        form, default=default, args=words, prog=program, return_unknown_args=True, config=chosen
    )
    if unknown:
        raise UserError(unknown_field(unknown[0], default, program))
    return options


def unknown_verb(word: str) -> str:
    """One sentence for a verb that there is not: the one that is spelt nearly so, or that does what others call so."""
    verbs = [*VERBS, "export", "doctor"]
    near = difflib.get_close_matches(word, [*verbs, *OTHER_WORDS], n=1)
    hint = f"did you mean {OTHER_WORDS.get(near[0], near[0])}?" if near else "see reelscript --help."
    return f"There is no verb {word}; {hint}"


def unknown_field(word: str, default: object, program: str) -> str:
    """One sentence for a flag that does not exist."""
    name = word.split("=")[0]
    near = difflib.get_close_matches(name, field_names(default), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"{program} --help lists them."
    return f"{name} is no field of this recipe; {hint}"


def field_names(value: object, prefix: str = "--") -> list[str]:
    """All flags of a nested dataclass, as tyro spells them."""
    import dataclasses

    names: list[str] = []
    items: list[tuple[str, object]] = []
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = [(item.name, getattr(value, item.name)) for item in dataclasses.fields(value)]
    elif isinstance(value, tuple):
        items = [(str(index), item) for index, item in enumerate(value)]
    for name, item in items:
        flag = prefix if name in ("recipe", "training") else f"{prefix}{name.replace('_', '-')}"
        nested = field_names(item, flag if flag == prefix else f"{flag}.")
        names += nested or [flag]
    return names


def explain(error: BaseException) -> str:
    """One sentence for people: the user error inside, wherever Ray wrapped it; a full disk; or what broke."""
    for each in causes(error):
        if isinstance(each, UserError):
            return str(each)
        if isinstance(each, OSError) and each.errno == errno.ENOSPC:
            where = each.filename or "the output location"
            return f"The disk is full while writing {where}; free some space and run the same command: it continues."
    if isinstance(unwrapped(error), ValueError):
        return reason_of(error)
    return f"{reason_of(error)} (--debug shows where)"


def fail(sentence: str, status: int) -> NoReturn:
    """Say why on the error stream and leave."""
    Console(stderr=True, soft_wrap=True).print(f"[bold red]error[/] {sentence}", highlight=False)
    sys.exit(status)
