"""The whole of a run as one typed value: where data come from, what the shards hold, what is trained and searched."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from ingest.settings import Ingest
from trainers.evaluation.protocol import Protocol
from trainers.evaluation.validation import asked
from trainers.recipe import Training
from trainers.system_settings import Reads
from tune.space import Search


@dataclass(frozen=True)
class DataSource:
    """One archive: its layout, where it is, and the stream of the store its clips go to."""

    layout: Literal[
        "webvid",
        "webvid_tsv",
        "webvid_tars",
        "cc12m",
        "cc12m_parquet",
        "cc12m_files",
        "yt_temporal",
        "yt_temporal_1b",
        "folder",
    ]
    """The published form of the archive (ingest/README.md), or a plain folder of files."""
    stream: str
    """Name of the stream, e.g. "narrated"."""
    path: str
    """Folder below the data root."""
    list_file: str = ""
    """List file, from that folder; empty: the layout's own name for it, or none."""
    narrated: bool = False
    """Of a plain folder: whether clips are cut by what is said; the other layouts know it themselves."""


@dataclass(frozen=True)
class Data:
    """Raw archives."""

    root: str
    """Folder or s3:// URI that holds the archives."""
    sources: tuple[DataSource, ...]
    """The archives; several may share a stream."""


@dataclass(frozen=True)
class Evaluation:
    """What trained weights are scored by, beside start and random weights."""

    stream: str = "test"
    """Stream of held-out clips (the gallery)."""
    protocols: tuple[Protocol, ...] = ()
    """Benchmarks and scores of one's own (`trainers/evaluation/protocols/`)."""
    captions: str = ""
    """JSON file below the data root: {key of the medium: {register: text or list of texts}}."""
    registers: dict[str, str] = field(default_factory=dict)
    """One sentence per register of that file on what its wording is; shown beside the scores."""
    batch_size: int = 25
    """Clips that are shown to a model at a time."""
    reads: Reads | None = None
    """What the system reads of a clip beside its frames, for protocols that ask for it."""


@dataclass(frozen=True)
class Validating:
    """Scores of checkpoints, taken while the training goes on; the weights do not depend on them."""

    stream: str = ""
    """Stream of held-out clips, with texts in evaluation.captions, that results are never reported on; empty: none."""
    best: str = ""
    """The number that makes a checkpoint the best, by the name that the evaluation's protocols give it; max: or min:
    may stand before it. The best are then kept beside the last, and the stage hands on the best; empty: it hands on the
    last."""
    stages: tuple[int, ...] = (-1,)
    """Indices of the stages whose checkpoints are scored."""
    every: int = 1
    """Checkpoints from one that is scored to the next; the last of a stage always is."""
    num_cpus: float = 1.0
    """CPUs of the process that scores, each a thread; the training leaves them to it."""
    num_gpus: float = 0.0
    """Its GPU, or share of one, beside those of the training workers; 0: it computes on CPUs."""

    def __post_init__(self) -> None:
        """ValueError for what means nothing."""
        if self.every < 1:
            raise ValueError(f"validation.every: {self.every} is less than 1")
        if self.best and not self.stream:
            raise ValueError(f"validation.best is {self.best} and validation.stream names no held-out stream")
        if self.best:
            asked(self.best)


@dataclass(frozen=True)
class Cluster:
    """Which Ray to use."""

    address: str | None = None
    """Ray cluster to join; None: RAY_ADDRESS, else a local Ray is started."""


@dataclass(frozen=True)
class Recipe:
    """A complete run; `reelscript VERB NAME --help` lists every field."""

    name: str
    """What trackers and the report call the run."""
    data: Data
    """Raw archives: where they are, and which streams their clips go to."""
    training: Annotated[Training, tyro.conf.arg(name="")]
    """System, stages and seed: with the shards they decide the weights."""
    ingest: Ingest = field(default_factory=Ingest)
    """From media to clips."""
    search: Search = field(default_factory=Search)
    """A search over the recipe: fields by name, what they are drawn from, and the number that decides."""
    evaluation: Evaluation = field(default_factory=Evaluation)
    """What trained weights are scored by, beside start and random weights."""
    validation: Validating = field(default_factory=Validating)
    """Scores of checkpoints, taken while the training goes on; the weights do not depend on them."""
    store: str = "outputs/store"
    """Folder or s3:// URI of the train-ready shards."""
    output: str = "outputs/run"
    """Folder or s3:// URI of checkpoints, tables and the report."""
    ray: Cluster = field(default_factory=Cluster)
    """Which Ray to use."""
