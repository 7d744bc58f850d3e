"""The folder of one training run: which of its checkpoints are committed, by Ray Train's own book.

Train writes a checkpoint folder first and enters it into `checkpoint_manager_snapshot.json` afterwards. After a
kill the newest folder may lack its entry; whoever went by the folders would skip rows that the restored weights
never saw.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.errors import UserError
from infra.objects import MissingError, exists, join, list_files, read_bytes, remove, write_bytes
from trainers.recipe import Training

SNAPSHOT = "checkpoint_manager_snapshot.json"
COPY = "checkpoint_manager_snapshot.copy.json"


@dataclass(frozen=True)
class Committed:
    """A checkpoint that Train would restore."""

    uri: str
    step: int
    metrics: dict[str, float]
    """What was logged last before it, and its validation scores."""


def checkpoint_name(step: int) -> str:
    """Folder of the checkpoint after this many steps."""
    return f"checkpoint_{step:08d}"


def checkpoint_step(uri: str) -> int:
    """Steps done at a checkpoint, by its folder's name."""
    return int(uri.rstrip("/").rpartition("_")[2])


def latest_committed(folder: str) -> Committed | None:
    """The checkpoint that Train restores for this run; None before the first."""
    book = _book(folder)
    entry = book.get("latest_checkpoint_result") if book else None
    return _committed(folder, entry) if entry else None


def all_committed(folder: str) -> list[Committed]:
    """The checkpoints that are kept, by step."""
    entries = (_book(folder) or {}).get("checkpoint_results", ())
    return sorted((_committed(folder, entry) for entry in entries), key=lambda kept: kept.step)


def _committed(folder: str, entry: Mapping[str, Any]) -> Committed:
    numbers = {name: value for name, value in entry["metrics"].items() if not isinstance(value, str)}
    return Committed(join(folder, entry["checkpoint_dir_name"]), int(numbers.pop("step")), numbers)


def copy_book(folder: str) -> None:
    """Keep a copy of Train's book, whole at any time."""
    write_bytes(join(folder, COPY), read_bytes(join(folder, SNAPSHOT)))


def mend_book(folder: str) -> None:
    """Make whole a book whose writing was cut off by a kill, for Train to read. UserError where that cannot be."""
    if book := _book(folder):
        write_bytes(join(folder, SNAPSHOT), json.dumps(book).encode())


def remove_uncommitted(folder: str) -> list[str]:
    """Remove checkpoint folders that never were committed; returns their names."""
    book = _book(folder) or {}
    committed = {entry["checkpoint_dir_name"] for entry in book.get("checkpoint_results", ())}
    found = {name for uri in list_files(folder) if (name := _top(folder, uri)).startswith("checkpoint_0")}
    for name in sorted(found - committed):
        remove(join(folder, name))
    return sorted(found - committed)


def check_same_training(
    committed: Committed, training: Training, stage_index: int, lineage: Mapping[str, str]
) -> None:
    """UserError if a run's checkpoint belongs to another recipe or to other shards than are given now."""
    from trainers.checkpoints.checkpoint import load_lineage, load_training  # torch: seconds to import

    before = load_training(committed.uri)
    ours, theirs = (_decisive(each, stage_index) for each in (training, before))
    changed = [name for name in ours if ours[name] != theirs.get(name)]
    shards = load_lineage(committed.uri)
    changed += [name for name in lineage if name.startswith("ledger/") and shards.get(name) != lineage[name]]
    if changed:
        raise UserError(
            f"{committed.uri} was trained with other settings ({', '.join(sorted(changed))} differ); "
            "choose another output, or remove that run's folder"
        )


def _decisive(training: Training, stage_index: int) -> dict[str, object]:
    """What decides the weights at the end of a stage; how the loop is launched and later stages do not."""
    plain = json.loads(json.dumps(dataclasses.asdict(training)))
    return {
        **{name: plain[name] for name in ("system", "pixels", "seed", "init", "init_parts")},
        **{f"stages[{index}]": stage for index, stage in enumerate(plain["stages"][: stage_index + 1])},
    }


def _book(folder: str) -> dict[str, Any] | None:
    """Train's book, or its copy while Train writes the book or after a kill cut that off.

    Train removes no checkpoint before it has written the book; what it removed since the copy was made is left out.
    """
    uri = join(folder, SNAPSHOT)
    try:
        return _json(uri)
    except MissingError:
        return None
    except ValueError as error:
        try:
            return _without_removed(folder, _json(join(folder, COPY)))
        except MissingError:
            message = f"{uri}: damaged ({error}); remove this run's folder to train it again"
            raise UserError(message) from error


def _without_removed(folder: str, book: dict[str, Any]) -> dict[str, Any]:
    entries = zip(book["checkpoint_results"], book["checkpoint_report_indices"], strict=True)
    there = [each for each in entries if exists(join(folder, each[0]["checkpoint_dir_name"]))]
    results, indices = map(list, zip(*there, strict=True)) if there else ([], [])
    return book | {"checkpoint_results": results, "checkpoint_report_indices": indices}


def _json(uri: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read_bytes(uri))
    return found


def _top(folder: str, uri: str) -> str:
    return uri.removeprefix(folder.rstrip("/")).strip("/").split("/", 1)[0]
