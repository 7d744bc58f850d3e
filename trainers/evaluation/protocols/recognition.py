"""Zero-shot recognition: which of the classes a clip shows, asked with a prompt for each (TVTSv2, section 13)."""

from dataclasses import dataclass, field
from typing import Any, Literal

from infra.errors import UserError
from trainers.evaluation.protocol import Columns, Declared, HeldOut, Measured, Protocol, Round, Rounds

LABELS = {"top1": "best prompt is one of the clip's", "found": "the clip's own among as many best prompts"}


@dataclass(frozen=True)
class Recognition(Protocol):
    """Clips whose best prompt is one of theirs, "classes/D/top1", and the share of a clip's classes among as many best
    prompts, "classes/D/found". The model is a dual encoder (`trainers.evaluation.dual_encoder`)."""

    kind: Literal["recognition"] = "recognition"
    """Which protocol this is."""
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of class sets, each with its class prompts. A clip belongs to every class whose prompt occurs in its
    held-out text of the register that the set is named after."""

    def declares(self, held_out: HeldOut) -> tuple[Declared, ...]:
        """Both shares of every class set. ValueError for a set that is named after no register."""
        for register in self.classes:
            if register not in held_out.registers:
                known = ", ".join(held_out.registers)
                raise ValueError(
                    f"recognition.classes: no held-out text has a register {register!r}; there are {known}"
                )
        return tuple(_declared(register, name) for register in self.classes for name in LABELS)

    def rounds(self, held_out: HeldOut) -> Rounds:
        """One."""
        from trainers.evaluation.dual_encoder import Prompted

        found = yield Round((held_out.stream,), Prompted(self.classes))
        return found[held_out.stream]

    def score(self, held_out: HeldOut, found: Columns, before: Any) -> tuple[Measured, ...]:
        """By chance a clip's k classes are any of them. UserError for a clip that belongs to no class."""
        import torch

        from trainers.evaluation.metrics import classification_metrics

        measured = []
        for register, prompts in self.classes.items():
            texts = [" ".join(held_out.captions[uid][register]) for uid in found["media_uid"].tolist()]
            own = torch.tensor([[prompt in text for prompt in prompts] for text in texts])
            if not own.any(dim=1).all():
                raise UserError(f"recognition.classes: a held-out text of register {register} names no class")
            chance = 100 * float(own.double().mean())
            values = classification_metrics(torch.from_numpy(found[f"classes/{register}"]), own)
            for name, value in values.items():
                measured.append(Measured(_declared(register, name), value, chance, len(texts)))
        return tuple(measured)


def _declared(register: str, name: str) -> Declared:
    return Declared(
        f"classes/{register}/{name}",
        f"register {register}: {LABELS[name]}",
        "Recognising what a clip shows",
        leading=name == "found",
        note="Which of the classes a clip shows, asked with one prompt for each.",
    )
