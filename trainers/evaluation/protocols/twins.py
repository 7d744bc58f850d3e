"""Twins: two clips that show the same events in another order, each with its own text."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainers.evaluation.protocol import (
    Captions,
    Columns,
    Declared,
    HeldOut,
    Measured,
    Protocol,
    Round,
    Rounds,
)

TITLE = "Twins: the same events in another order"
NOTE = "Two videos differ only in order, so neither a bag of words nor a bag of frames can tell them apart."
DIRECTIONS = {"t2v": "caption prefers its own video", "v2t": "video prefers its own caption"}


@dataclass(frozen=True)
class Twins(Protocol):
    """Texts that prefer their own clip to its twin, and clips that prefer their own text, named "twins/B/t2v".

    A mean over sentences does not depend on their order, so registers of several sentences a clip are left out. The
    model is a dual encoder (`trainers.evaluation.dual_encoder`).
    """

    kind: Literal["twins"] = "twins"
    """Which protocol this is."""
    stream: str = "twins"
    """Stream of the twins."""
    of: str = "test"
    """Stream of the clips that they are twins of; on others nothing is scored."""

    def streams(self, held_out: HeldOut) -> tuple[str, ...]:
        """Its own, where the clips are those it has twins of."""
        return (self.stream,) if held_out.stream == self.of else ()

    def declares(self, held_out: HeldOut) -> tuple[Declared, ...]:
        """Both directions of every register of single texts."""
        if not self.streams(held_out):
            return ()
        return tuple(
            _declared(register, direction) for register in _single(held_out) for direction in DIRECTIONS
        )

    def rounds(self, held_out: HeldOut) -> Rounds:
        """One."""
        from trainers.evaluation.dual_encoder import Features

        if not self.streams(held_out):
            return None
        return (yield Round((held_out.stream, self.stream), Features()))

    def score(
        self, held_out: HeldOut, found: Mapping[str, Columns] | None, before: Any
    ) -> tuple[Measured, ...]:
        """Nothing where no clip has a twin. The two answers of a pair depend on one another, so it is one trial."""
        import torch

        from trainers.evaluation.metrics import twin_accuracy

        if found is None:
            return ()
        gallery, twins = found[held_out.stream], found[self.stream]
        pairs = paired(gallery["media_uid"].tolist(), twins["media_uid"].tolist(), held_out.captions)
        if not pairs:
            return ()
        mine, other = (list(side) for side in zip(*pairs, strict=True))

        def both(column: str) -> torch.Tensor:
            sides = (gallery[column][mine], twins[column][other])
            return torch.stack([torch.from_numpy(side) for side in sides], dim=1)

        videos, measured = both("video"), []
        for register in _single(held_out):
            texts = both(f"texts/{register}")
            # The same question, asked by the text and by the video.
            values = {"t2v": twin_accuracy(videos, texts), "v2t": twin_accuracy(texts, videos)}
            for direction, value in values.items():
                declared = _declared(register, direction)
                measured.append(Measured(declared, value, declared.chance, len(pairs)))
        return tuple(measured)


def _declared(register: str, direction: str) -> Declared:
    """A coin is right in half of the cases."""
    words = "{value:.0f} % of the captions prefer their own video to the same events in another order"
    sentence = f"Twins, register {register}: {words}, {{level}} ({{chance:.0f}} %)."
    return Declared(
        f"twins/{register}/{direction}",
        f"register {register}: {DIRECTIONS[direction]}",
        TITLE,
        chance=50.0,
        note=NOTE,
        sentence=sentence if direction == "t2v" else "",
    )


def _single(held_out: HeldOut) -> list[str]:
    """Registers of which no medium has several texts."""
    media = held_out.captions.values()
    return [name for name in held_out.registers if all(len(texts.get(name, ())) < 2 for texts in media)]


def paired(gallery: Sequence[str], twins: Sequence[str], captions: Captions) -> list[tuple[int, int]]:
    """(clip of the gallery, its twin), from the media of both: their sentences are the same in another order."""

    def events(media_uid: str) -> tuple[str, ...]:
        return tuple(
            sorted(text for texts in captions[media_uid].values() if len(texts) > 1 for text in texts)
        )

    owners: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, uid in enumerate(gallery):
        owners[events(uid)].append(index)
    found = [(owners.get(events(uid), []), index) for index, uid in enumerate(twins)]
    return [(own[0], index) for own, index in found if len(own) == 1]
