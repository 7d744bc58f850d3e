"""Progress on a terminal and in a log."""

import io

from rich.console import Console

from pipeline.progress import _Lines, describe, progress


def test_rate_and_time_left_count_from_where_this_call_began() -> None:
    assert describe(8, 12, "shards", first=4, elapsed_s=2.0) == "8 of 12 shards, 2.0 shards/s, 2.0 s left"
    assert describe(5, None, "clips", first=0, elapsed_s=20.0) == "5 clips, 4.0 s each"
    assert (
        describe(12, 12, "shards", first=12, elapsed_s=2.0, note="all there") == "12 of 12 shards, all there"
    )


def test_a_log_gets_a_line_every_ten_seconds_and_one_at_the_end() -> None:
    times, lines = iter([0.0, 4.0, 11.0, 11.0, 11.0, 12.0, 20.0, 20.0, 20.0]), list[str]()
    report = _Lines("Ingest", "shards", 4, 0, lines.append, clock=lambda: next(times))
    report(1)
    report(2)
    report(3)
    report.finish()
    assert lines == [
        "Ingest: 2 of 4 shards, 5.5 s each, 11 s left",
        "Ingest: 3 of 4 shards, 6.7 s each, 6.7 s left (took 20 s)",
    ]


def test_a_terminal_gets_a_bar_and_a_pipe_gets_none() -> None:
    terminal, pipe = io.StringIO(), io.StringIO()
    for target, is_terminal in ((terminal, True), (pipe, False)):
        console = Console(file=target, force_terminal=is_terminal, width=100)
        with progress("Ingest", "shards", 2, console=console) as report:
            report(1)
            report(2, note="4 clips")
    assert "━" in terminal.getvalue()
    assert "━" not in pipe.getvalue()
    assert "2 of 2 shards" in pipe.getvalue()
