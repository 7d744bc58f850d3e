"""What objectives are told by a recipe. Nothing here needs torch."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from trainers.system_settings import ObjectiveSettings


@dataclass(frozen=True)
class Contrastive(ObjectiveSettings):
    """Clips against texts over the batches of all ranks (TVTSv2, section 7)."""

    kind: Literal["contrastive"] = "contrastive"
    """Which objective this is."""
    temperature: float = 0.05
    """What divides the similarities; fixed."""
    gather: Literal["published", "summed"] = "published"
    """Gradient of the gathered loss: "published", 1/W of the written one's, so that the balance with other objectives
    changes with the number of workers; "summed" over ranks, that of the written loss. (Both measured:
    `trainers/README.md`.)"""

    def chance(self, system: Any, stream: Any) -> float | None:
        """The logarithm of the number of choices, of both directions, which are added."""
        return 2 * math.log(stream.batch_size)


@dataclass(frozen=True)
class Sorting(ObjectiveSettings):
    """Which transcript comes when (TVTSv2, sections 6 and 7); the model needs a sorting head."""

    kind: Literal["sorting"] = "sorting"
    """Which objective this is."""

    def chance(self, system: Any, stream: Any) -> float | None:
        """The logarithm of the number of places."""
        return math.log(system.sorting.transcripts)
