"""How far training moved the text space from where it started."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from trainers.evaluation.protocol import Columns, Declared, HeldOut, Measured, Protocol, Round, Rounds


@dataclass(frozen=True)
class Drift(Protocol):
    """Mean cosine between the features of the held-out texts with the start weights and now, by register: 1 where
    nothing moved. The model is a dual encoder (`trainers.evaluation.dual_encoder`)."""

    needs_start: ClassVar[bool] = True
    kind: Literal["drift"] = "drift"
    """Which protocol this is."""

    def declares(self, held_out: HeldOut) -> tuple[Declared, ...]:
        """One of every register."""
        return tuple(_declared(register) for register in held_out.registers)

    def rounds(self, held_out: HeldOut) -> Rounds:
        """One."""
        from trainers.evaluation.dual_encoder import Features

        found = yield Round((held_out.stream,), Features())
        return found[held_out.stream]

    def score(self, held_out: HeldOut, found: Columns, before: Columns) -> tuple[Measured, ...]:
        """Of a register of several sentences a clip the features are their means."""
        from trainers.evaluation.dual_encoder import kept_direction

        texts = {register: f"texts/{register}" for register in held_out.registers}
        return tuple(
            Measured(_declared(register), kept_direction(before[column], found[column]))
            for register, column in texts.items()
        )


def _declared(register: str) -> Declared:
    return Declared(
        f"drift/{register}",
        f"register {register}: cosine with the start",
        "Drift of the text space",
        more_is_better=None,
        unit="",
        leading=True,
        note="Mean cosine between a held-out text's features before and after, 1 where nothing moved.",
    )
