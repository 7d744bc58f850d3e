"""Where the stages of a running ingest stand: what their actors tell, added up."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ingest.records import Clip, Media, Reject

_WINDOW_S = 60.0  # over which rates are taken


@dataclass(frozen=True)
class ShardProgress:
    """How far a stage is with one input shard. `sound_s`: seconds of sound whose speech was recognised."""

    stage: str
    shard: str
    num_media: int = 0
    num_clips: int = 0
    num_rejects: int = 0
    sound_s: float = 0.0
    finished: bool = False

    def plus(self, made: Sequence[Media | Clip | Reject]) -> "ShardProgress":
        """One medium further, and what became of it."""
        return replace(
            self,
            num_media=self.num_media + 1,
            num_clips=self.num_clips + sum(isinstance(item, Clip) for item in made),
            num_rejects=self.num_rejects + sum(isinstance(item, Reject) for item in made),
            sound_s=self.sound_s + sum(_heard_s(item) for item in made if isinstance(item, Media)),
        )


def _heard_s(media: Media) -> float:
    recognised = any(said.origin != "provider" for said in media.utterances or ())
    return media.duration_s or 0.0 if recognised else 0.0


@dataclass(frozen=True)
class StageStands:
    """One stage of a running ingest. Rates are those of the last minute; counts are this run's.

    `at_work` and `waiting` are input shards: begun, and not begun by this stage.
    """

    stage: str
    at_work: int
    waiting: int
    num_media: int = 0
    num_clips: int = 0
    num_rejects: int = 0
    media_per_s: float = 0.0
    clips_per_s: float = 0.0
    sound_per_s: float = 0.0


@dataclass
class _Stage:
    num_shards: int
    steps: dict[str, ShardProgress] = field(default_factory=dict)
    seen: deque[tuple[float, ShardProgress]] = field(default_factory=deque)

    def total(self, name: str) -> ShardProgress:
        steps = self.steps.values()
        return ShardProgress(
            name,
            "",
            sum(step.num_media for step in steps),
            sum(step.num_clips for step in steps),
            sum(step.num_rejects for step in steps),
            sum(step.sound_s for step in steps),
        )


class Tally:
    """Adds up steps. A shard that is begun again, since its actor died, counts anew."""

    def __init__(self, num_shards: Mapping[str, int], clock: Callable[[], float] = time.monotonic) -> None:
        """`num_shards`: input shards that each stage has before it."""
        self._stages = {name: _Stage(count) for name, count in num_shards.items()}
        self._clock = clock

    def add(self, step: ShardProgress) -> None:
        """What an actor tells, as often as it likes."""
        self._stages[step.stage].steps[step.shard] = step

    def stands(self) -> list[StageStands]:
        """Every stage as of now; rates are taken from one call to later ones."""
        return [self._stands(name, stage) for name, stage in self._stages.items()]

    def _stands(self, name: str, stage: _Stage) -> StageStands:
        now_s, total = self._clock(), stage.total(name)
        if stage.steps:
            stage.seen.append((now_s, total))
        while stage.seen and stage.seen[0][0] < now_s - _WINDOW_S:
            stage.seen.popleft()
        first_s, first = stage.seen[0] if stage.seen else (now_s, total)
        elapsed_s = max(now_s - first_s, 1e-9)
        return StageStands(
            name,
            at_work=sum(not step.finished for step in stage.steps.values()),
            waiting=stage.num_shards - len(stage.steps),
            num_media=total.num_media,
            num_clips=total.num_clips,
            num_rejects=total.num_rejects,
            media_per_s=max(0.0, total.num_media - first.num_media) / elapsed_s,
            clips_per_s=max(0.0, total.num_clips - first.num_clips) / elapsed_s,
            sound_per_s=max(0.0, total.sound_s - first.sound_s) / elapsed_s,
        )
