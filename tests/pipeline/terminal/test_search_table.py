import dataclasses
import io
import json
from dataclasses import replace

from rich.console import Console

from pipeline.terminal.tables import search_table
from tests.tune.test_results import FROZEN, SEARCH, result
from tune.results import SearchResult
from tune.settings import Setting
from tune.space import Search


def shown(found: SearchResult, search: Search) -> str:
    """As it is after a round trip through a file."""
    text = io.StringIO()
    record = json.loads(json.dumps(dataclasses.asdict(found)))
    Console(file=text, width=120).print(search_table(record, search))
    return text.getvalue()


def test_the_table_of_a_search_names_the_winner_the_start_what_failed_and_where_two_scores_disagree() -> None:
    text = shown(result(), SEARCH)
    rows = [row.split() for row in text.splitlines()]
    assert ["winner", "2", "1", "50.0", "20.0"] in rows
    assert ["1", "stopped", "1", "1", "7.0", "7.0"] in rows
    assert ["start", "45.0", "–"] in rows
    assert ["failed", "1", "seed", "1", "–", "–"] in rows
    said = " ".join(text.split())
    assert f"{FROZEN}: B is best at 0 (60, at 2: 20), but D is 40 there and 50 at 2." in said
    assert "Failed: the disk was full; the same command tries again." in said


def test_variants_have_a_column() -> None:
    fast = Setting({FROZEN: 2}, "fast")
    trials = tuple(
        replace(trial, setting=replace(trial.setting, variant="fast")) for trial in result().trials
    )
    found = replace(result(), trials=trials, winner=fast, failed=())
    text = shown(found, replace(SEARCH, variants={"fast": {}}))
    assert ["winner", "fast", "2", "1", "50.0", "20.0"] in [row.split() for row in text.splitlines()]
