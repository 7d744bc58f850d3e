import dataclasses
import io

from rich.console import Console

from pipeline.outcome import search_table
from tests.tune.test_trials import result
from tune.space import Search


def test_the_table_of_a_search_names_the_winner_the_start_what_failed_and_where_two_wordings_disagree() -> (
    None
):
    text = io.StringIO()
    table = search_table(dataclasses.asdict(result()), Search(metric="D", against="B"))
    Console(file=text, width=120).print(table)
    rows = [row.split() for row in text.getvalue().splitlines()]
    assert ["winner", "·", "2", "1", "50.0", "20.0"] in rows
    assert any(row[:2] == ["1", "stopped"] for row in rows)
    assert ["start", "45.0", "–"] in rows
    assert ["1", "seed", "1", "–", "–"] in rows
    said = " ".join(text.getvalue().split())
    assert "B is best with 0 blocks frozen (60.0, with 2: 20.0), but D is 40.0 there and 50.0 with 2." in said
    assert "Failed: the disk was full; the same command tries again." in said
