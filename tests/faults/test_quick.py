"""The fault runs in short: one in every gate, the others (minutes) with `-m fault`."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.fault_fuzz import fuzz


@pytest.mark.usefixtures("ray_local")
def test_every_broken_file_ends_in_a_shard_or_in_quarantine_once(tmp_path: Path) -> None:
    fate = fuzz(tmp_path, 24)
    assert (fate.lost, fate.doubled, fate.counted) == (0, 0, 24)


@pytest.mark.fault
@pytest.mark.parametrize("name", ["fault_kill", "fault_node", "fault_store", "fault_run", "fault_train"])
def test_what_is_killed_or_cut_off_ends_like_what_was_left_alone(name: str) -> None:
    subprocess.run([sys.executable, "-m", f"tests.faults.{name}", "--quick"], check=True, timeout=1200)
