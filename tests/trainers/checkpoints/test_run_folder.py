import json
from dataclasses import replace
from pathlib import Path

import pytest

from infra.errors import UserError
from infra.objects import remove
from tests.trainers.run_folders import write_run
from tests.trainers.tiny import training
from trainers.checkpoints.run_folder import (
    all_committed,
    check_same_training,
    copy_book,
    latest_committed,
    mend_book,
    remove_uncommitted,
)


def test_a_run_that_never_began_has_no_checkpoint(tmp_path: Path) -> None:
    assert latest_committed(str(tmp_path / "run")) is None
    assert remove_uncommitted(str(tmp_path / "run")) == []


def test_the_book_decides_and_newer_folders_are_removed(tmp_path: Path) -> None:
    names = ["checkpoint_00000004", "checkpoint_00000008"]
    write_run(tmp_path, training(10), names, names[:1])
    kept = latest_committed(str(tmp_path))
    assert kept is not None
    assert (kept.step, kept.uri, kept.metrics) == (4, str(tmp_path / names[0]), {"loss": 1.5})
    assert remove_uncommitted(str(tmp_path)) == names[1:]
    assert (tmp_path / names[0]).exists()
    assert not (tmp_path / names[1]).exists()


def test_a_run_is_not_continued_with_other_settings_or_other_shards(tmp_path: Path) -> None:
    recipe, names = training(10), ["checkpoint_00000004"]
    write_run(tmp_path, recipe, names, names)
    kept = latest_committed(str(tmp_path))
    assert kept is not None
    check_same_training(kept, training(10, workers=2), 0, {"ledger/narrated": "1", "commit": "new"})
    with pytest.raises(UserError, match="other settings \\(seed differ"):
        check_same_training(kept, replace(recipe, seed=1), 0, {})
    with pytest.raises(UserError, match="ledger/narrated"):
        check_same_training(kept, recipe, 0, {"ledger/narrated": "2"})


def test_a_book_whose_writing_was_cut_off_is_mended_from_its_copy_without_what_was_removed_since(
    tmp_path: Path,
) -> None:
    names = ["checkpoint_00000004", "checkpoint_00000008"]
    write_run(tmp_path, training(10), names, names)
    before = latest_committed(str(tmp_path))
    copy_book(str(tmp_path))
    remove(str(tmp_path / names[0]))
    (tmp_path / "checkpoint_manager_snapshot.json").write_text('{"checkpoint_res')
    mend_book(str(tmp_path))
    assert latest_committed(str(tmp_path)) == before
    assert all_committed(str(tmp_path)) == [before]
    mended = json.loads((tmp_path / "checkpoint_manager_snapshot.json").read_text())
    assert mended["checkpoint_report_indices"] == [1]


def test_a_damaged_book_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoint_manager_snapshot.json").write_text('{"checkpoint_res')
    for read in (latest_committed, mend_book):  # there is no copy
        with pytest.raises(UserError, match=r"checkpoint_manager_snapshot\.json: damaged"):
            read(str(tmp_path))
