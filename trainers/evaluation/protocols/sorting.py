"""Sorting a clip's transcripts into the order of its video, and its control (TVTSv2, sections 6 and 9)."""

from dataclasses import dataclass
from typing import Any, Literal

from trainers.evaluation.protocol import Columns, Declared, HeldOut, Measured, Protocol, Round, Rounds

TITLE = "Sorting transcripts into the order of the video"
NOTE = (
    "Each transcript is placed by looking at the frames. The control shows another clip's frames: it must "
    "fall to chance."
)


@dataclass(frozen=True)
class Sorting(Protocol):
    """Transcripts placed right, clips with all of them right, and a control that shows another clip's video.

    The model is a dual encoder (`trainers.evaluation.dual_encoder`) whose videos have a `sequence` of tokens as well,
    and it offers `sorting(sequence, texts)`, logits [b, k, places]; its settings say `sorting.transcripts`, how many it
    sorts. Of a system without such a head (`sorting` is None or absent) nothing is declared and nothing scored: one
    field leaves the head out, and no list of protocols has to follow it. A recipe that names the numbers is refused.
    """

    kind: Literal["sorting"] = "sorting"
    """Which protocol this is."""

    def declares(self, held_out: HeldOut) -> tuple[Declared, ...]:
        """Nothing without a head."""
        count = _transcripts(held_out)
        return _declared(count) if count else ()

    def rounds(self, held_out: HeldOut) -> Rounds:
        """One."""
        from trainers.evaluation.dual_encoder import Sorted

        if not (count := _transcripts(held_out)):
            return None
        found = yield Round((held_out.stream,), Sorted(count))
        return found[held_out.stream]

    def score(self, held_out: HeldOut, found: Columns | None, before: Any) -> tuple[Measured, ...]:
        """Nothing where no clip has as many transcripts as the head sorts.

        Places within one clip depend on one another, so a clip counts as one trial and not as K.
        """
        import torch

        from trainers.evaluation.metrics import sorting_accuracy

        if found is None or not found["sorted"].any():
            return ()
        own, strange = found["logits"][found["sorted"]], found["control"][found["controlled"]]
        position, all_right, control = _declared(_transcripts(held_out))
        values = sorting_accuracy(torch.from_numpy(own))
        measured = [
            Measured(position, values["position"], position.chance, len(own)),
            Measured(all_right, values["all_right"], all_right.chance, len(own)),
        ]
        if len(strange):
            value = sorting_accuracy(torch.from_numpy(strange))["position"]
            measured.append(Measured(control, value, control.chance, len(strange)))
        return tuple(measured)


def _transcripts(held_out: HeldOut) -> int:
    """How many transcripts the models sort; 0: they do not."""
    head = getattr(held_out.system, "sorting", None)
    return int(head.transcripts) if head else 0


def _declared(count: int) -> tuple[Declared, Declared, Declared]:
    """By chance places are drawn independently."""
    found = "Sorting: {value:.0f} % of the transcripts are placed right (chance {chance:.0f} %)"
    all_right = "{sorting/all_right.value:.0f} % of the clips (chance {sorting/all_right.chance:.1f} %)"
    strange = "Control: with another clip's video {value:.0f} % are placed right (chance {chance:.0f} %)"
    return (
        Declared(
            "sorting/position",
            "transcripts placed right",
            TITLE,
            leading=True,
            chance=100 / count,
            note=NOTE,
            sentence=f"{found}, all {count} of a clip in {all_right}.",
        ),
        Declared(
            "sorting/all_right",
            "clips with every transcript right",
            TITLE,
            chance=100 * count**-count,
            note=NOTE,
        ),
        Declared(
            "sorting/control",
            "control: another clip's video",
            TITLE,
            more_is_better=None,
            chance=100 / count,
            note=NOTE,
            sentence=strange + ", {level}.",
            good="so what it gets right it gets from the video",
            bad="so something else than the video gives the order away",
            control_of="sorting/position",
            moot="as it must be",
        ),
    )
