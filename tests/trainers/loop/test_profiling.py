import gzip
import json
from pathlib import Path

import torch

from trainers.loop.profiling import profiled, table_of


def test_the_steps_after_the_first_five_are_in_the_trace_and_counted_in_the_table(tmp_path: Path) -> None:
    with profiled(2, str(tmp_path)) as end_of_step:
        for step in range(9):
            torch.ones(step + 1, 7).sum(dim=0)  # step 5 has six rows, step 6 seven
            end_of_step()
    found = json.loads(gzip.decompress((tmp_path / "profile/trace.json.gz").read_bytes()))
    sums = [event for event in found["traceEvents"] if event.get("name") == "aten::sum"]
    rows = [line.split() for line in table_of(str(tmp_path)).splitlines()]
    assert len(sums) == 2
    (calls,) = [row[-1] for row in rows if row and row[0] == "aten::sum"]
    assert calls == "2"


def test_without_steps_to_record_nothing_is_written(tmp_path: Path) -> None:
    with profiled(0, str(tmp_path)) as end_of_step:
        end_of_step()
    assert not list(tmp_path.iterdir())
