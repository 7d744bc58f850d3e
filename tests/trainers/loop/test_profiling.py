import gzip
import json
from pathlib import Path

import torch

from trainers.loop.profiling import profiled, table_of


def test_the_steps_after_the_first_five_are_in_the_trace_and_the_table_lines_up(tmp_path: Path) -> None:
    with profiled(2, str(tmp_path)) as end_of_step:
        for step in range(9):
            torch.ones(step + 1, 7).sum(dim=0)  # step 5 has six rows, step 6 seven
            end_of_step()
    found = json.loads(gzip.decompress((tmp_path / "profile/trace.json.gz").read_bytes()))
    sums = [event for event in found["traceEvents"] if event.get("name") == "aten::sum"]
    table = table_of(str(tmp_path)).splitlines()
    assert len(sums) == 2
    assert table[0].split()[:2] == ["operation", "calls"]
    assert 2 <= len(table) <= 11
    assert len({len(line) for line in table}) == 1
    assert any(line.split()[:2] == ["aten::sum", "2"] for line in table)


def test_without_steps_to_record_nothing_is_written(tmp_path: Path) -> None:
    with profiled(0, str(tmp_path)) as end_of_step:
        end_of_step()
    assert not list(tmp_path.iterdir())
