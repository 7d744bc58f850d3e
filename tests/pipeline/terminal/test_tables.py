from dataclasses import replace

from pipeline.terminal.tables import losses
from tests.trainers.tiny import NARRATED, training


def test_what_a_running_stage_says_of_itself_is_one_short_line() -> None:
    values = {
        "narrated/sorting": 1.3863,
        "narrated/contrastive": 2.0,
        "narrated/grad_norm/sorting": 3.0,
        "clips_per_s": 96.25,
        "wait_share": 0.012,
        "skipped_steps": 0.0,
    }
    stage = replace(training(1).stages[0], streams=(NARRATED,))
    told = "narrated/contrastive 2.000  narrated/sorting 1.386  96.2 clips/s  1% waiting"
    assert losses(values, stage) == told
    assert losses({**values, "mfu": 0.453, "skipped_steps": 2.0}, stage).endswith(
        "1% waiting  45% MFU  2 skipped"
    )
    assert losses({}, stage) == ""  # before the first metrics
