"""A search, as whoever asks for it and each of its trials know it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from infra.errors import UserError
from infra.objects import absolute
from infra.tracking import TrackedRun
from trainers.cluster.launch import ClipStream
from trainers.evaluation.protocol import Declared
from trainers.recipe import Training
from tune.settings import Setting, trained_stages
from tune.space import Search
from tune.trial_journal import TrialJournal

Evaluate = Callable[[str], tuple[dict[str, float], dict[str, float]]]
"""From the URI of a checkpoint to its metrics, which must hold the search's, and to those of the start weights."""
Lineage = Callable[[Training], Mapping[str, str]]
"""From what a trial trains to what is saved with its checkpoints."""


@dataclass(frozen=True)
class SearchJob:
    """What is searched, on which clips, by which score, and where it is written down."""

    training: Training
    search: Search
    streams: Mapping[str, ClipStream]
    evaluate: Evaluate
    declared: Mapping[str, Declared]
    """The numbers that `evaluate` gives, by name."""
    folder: str
    """URI that belongs to this search alone."""
    run: TrackedRun
    """Its tracked run; each trial is one below it."""
    lineage: Lineage
    start: str | None = None
    """Checkpoint that all trials begin with."""

    def __post_init__(self) -> None:
        """Trials run in another folder, where relative paths fail."""
        object.__setattr__(self, "folder", absolute(self.folder))
        object.__setattr__(self, "start", absolute(self.start) if self.start else None)

    @property
    def number(self) -> Declared:
        """The one that decides."""
        return self.declared[self.search.metric]

    @property
    def journal(self) -> TrialJournal:
        """What the trials have said."""
        return TrialJournal(self.folder)

    @property
    def stages(self) -> range:
        """Indices of the stages that a trial trains."""
        return trained_stages(self.search, self.training)

    @property
    def steps(self) -> int:
        """Of all stages of one trial."""
        return sum(self.search.steps or self.training.stages[index].steps for index in self.stages)

    def score_at(self, step: int, setting: Setting, seed: int, checkpoint: str) -> dict[str, float]:
        """The metrics of a trial after some steps, taken once."""
        return self.journal.scores_at(step, setting, seed, lambda: self.score(checkpoint))

    def score(self, checkpoint: str) -> dict[str, float]:
        """The metrics of a checkpoint; UserError where the deciding one is not among them."""
        metrics, start = self.evaluate(checkpoint)
        self.journal.kept("start", lambda: start)
        for wanted in filter(None, (self.search.metric, self.search.against)):
            if wanted not in metrics:
                raise UserError(f"the search's metric {wanted!r} is not among {', '.join(sorted(metrics))}")
        return metrics
