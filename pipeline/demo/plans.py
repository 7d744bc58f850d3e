"""Which events the demo's videos show: drawn so that held-out combinations never occur in training."""

from collections.abc import Sequence

import numpy as np

from pipeline.demo.grammar import ALL_THINGS, MOTIONS, Event

EVENTS_PER_CLIP = 4
DISTINCT_SHARE = 0.75  # of training clips: four different things; the others show one thing twice

Story = tuple[Event, ...]


class Storyteller:
    """Draws stories of four or eight events. Only a twin tells four events again, in another order."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._told: set[frozenset[Event]] = set()
        self._shown: set[frozenset[object]] = set()

    def held_out(self) -> Story:
        """Four events by four things; no other held-out story has the same four things."""
        while True:
            story = self._clip(distinct=True)
            things = frozenset(event.thing for event in story)
            if things not in self._shown and self._new(story):
                self._shown.add(things)
                return self._tell(story)

    def clip(self) -> Story:
        """Four events of training."""
        while not self._new(story := self._clip(self._rng.random() < DISTINCT_SHARE)):
            pass
        return self._tell(story)

    def two_clips(self) -> Story:
        """Eight events of training: two clips, one after the other."""
        while True:
            story = tuple(
                event for _ in range(2) for event in self._clip(self._rng.random() < DISTINCT_SHARE)
            )
            if self._new(story):
                return self._tell(story)

    def twin(self, story: Story) -> Story:
        """The same events in another order."""
        while (twin := tuple(story[i] for i in self._rng.permutation(len(story)))) == story:
            pass
        return twin

    def _clip(self, distinct: bool) -> Story:
        num_things = EVENTS_PER_CLIP if distinct else EVENTS_PER_CLIP - 1
        things = [ALL_THINGS[i] for i in self._rng.choice(len(ALL_THINGS), num_things, replace=False)]
        motions = [MOTIONS[i] for i in self._rng.integers(len(MOTIONS), size=num_things)]
        events = [Event(thing, motion) for thing, motion in zip(things, motions, strict=True)]
        if not distinct:
            other = [motion for motion in MOTIONS if motion != motions[0]]
            again = Event(things[0], other[self._rng.integers(len(other))])
            events.insert(int(self._rng.integers(EVENTS_PER_CLIP)), again)
        return tuple(events)

    def _new(self, story: Story) -> bool:
        windows = _windows(story)
        return len(set(windows)) == len(windows) and self._told.isdisjoint(windows)

    def _tell(self, story: Story) -> Story:
        self._told.update(_windows(story))
        return story


def _windows(story: Sequence[Event]) -> list[frozenset[Event]]:
    return [
        frozenset(story[begin : begin + EVENTS_PER_CLIP]) for begin in range(len(story) - EVENTS_PER_CLIP + 1)
    ]
