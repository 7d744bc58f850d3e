"""Zero-shot retrieval of clips by texts and of texts by clips (TVTSv2, section 13)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from trainers.evaluation.protocol import (
    Columns,
    Declared,
    Example,
    HeldOut,
    Hit,
    Measured,
    Protocol,
    Round,
    Rounds,
)

CUTS = (1, 5, 10)
DIRECTIONS = {"t2v": "text to video", "v2t": "video to text"}
NUM_HITS = 5
EXAMPLES_PER_REGISTER = 2


@dataclass(frozen=True)
class Retrieval(Protocol):
    """R@k and median rank in every register and both directions, named "B/t2v_R1".

    The model is a dual encoder (`trainers.evaluation.dual_encoder`).
    """

    kind: Literal["retrieval"] = "retrieval"
    """Which protocol this is."""

    def declares(self, held_out: HeldOut) -> tuple[Declared, ...]:
        """The same numbers for every register of the caption file."""
        return tuple(each for register in held_out.registers for each in _of_register(register, held_out))

    def rounds(self, held_out: HeldOut) -> Rounds:
        """One."""
        from trainers.evaluation.dual_encoder import Features

        found = yield Round((held_out.stream,), Features())
        return found[held_out.stream]

    def score(self, held_out: HeldOut, found: Columns, before: Any) -> tuple[Measured, ...]:
        """Each query has one clip of its own."""
        from trainers.evaluation.dual_encoder import cosines
        from trainers.evaluation.metrics import retrieval_metrics

        values = {
            f"{register}/{direction}_{name}": value
            for register in held_out.registers
            for direction, metrics in retrieval_metrics(
                cosines(found[f"texts/{register}"], found["video"])
            ).items()
            for name, value in metrics.items()
        }
        clips = len(found["uid"])
        return tuple(_measured(each, values[each.name], clips) for each in self.declares(held_out))

    def examples(self, held_out: HeldOut, found: Columns) -> tuple[Example, ...]:
        """The first queries of each register, whatever they find: none is chosen."""
        return tuple(each for register in held_out.registers for each in _examples(held_out, found, register))


def _of_register(register: str, held_out: HeldOut) -> Iterator[Declared]:
    title, notes = f"Retrieval, register {register}", [held_out.notes.get(register, "")]
    if register == held_out.registers[0]:
        notes.append("R@k: share of queries whose own item is among the first k.")
    note = " ".join(filter(None, notes))
    found = "{hits:.3g} of {trials} texts find their own video first"
    sentence = f"Register {register}: {found}, {{level}} ({{chance_hits:.3g}}){{start}}."
    for direction, words in DIRECTIONS.items():
        for cut in CUTS:
            first = direction == "t2v" and cut == 1
            yield Declared(
                f"{register}/{direction}_R{cut}",
                f"{words}, R@{cut}",
                title,
                leading=first,
                note=note,
                sentence=sentence if first else "",
                beside_start="; the start weights manage {start_hits:.3g}",
            )
        median = f"{words}, median rank"
        yield Declared(
            f"{register}/{direction}_MedR", median, title, more_is_better=False, unit="", note=note
        )


def _measured(declared: Declared, value: float, clips: int) -> Measured:
    """One of the clips is right, so guessing finds it among the first k in k of as many cases."""
    measure = declared.name.rpartition("_")[2]
    if measure == "MedR":
        return Measured(declared, value, (clips + 1) / 2)
    return Measured(declared, value, min(100.0, 100 * int(measure.removeprefix("R")) / clips), clips)


def _examples(held_out: HeldOut, found: Columns, register: str) -> Iterator[Example]:
    from trainers.evaluation.dual_encoder import cosines
    from trainers.evaluation.metrics import t2v_ranks

    uids, media_uids = found["uid"].tolist(), found["media_uid"].tolist()
    similarity = cosines(found[f"texts/{register}"], found["video"])
    ranks = t2v_ranks(similarity)
    best = similarity.topk(min(NUM_HITS, len(uids)), dim=1)
    for query in range(min(EXAMPLES_PER_REGISTER, len(uids))):
        hits = zip(best.indices[query].tolist(), best.values[query].tolist(), strict=True)
        yield Example(
            f"register {register}",
            text=" ".join(held_out.captions[media_uids[query]][register]),
            own=uids[query],
            rank=int(ranks[query]) + 1,
            hits=tuple(Hit(uids[clip], round(cosine, 4)) for clip, cosine in hits),
        )
