"""Progress on a terminal and in a log."""

import io

from rich.console import Console

from ingest.tally import StageStands
from pipeline.terminal.progress import _Lines, describe, progress, show_rate
from pipeline.terminal.tables import stage_lines


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


STAGES = stage_lines(
    [
        StageStands("speech", 1, 11, 120, 0, 3, media_per_s=0.25, sound_per_s=41.24),
        StageStands("decode", 2, 1_200, 4_000, 9_000, 14, media_per_s=12.5, clips_per_s=31.0),
    ]
)


def test_a_slow_rate_is_told_by_the_minute_or_the_hour() -> None:
    assert [show_rate(rate, "clips") for rate in (2.5, 0.1, 0.01, 0.0)] == [
        "2.5 clips/s",
        "6.0 clips/min",
        "36.0 clips/h",
        "0 clips/s",
    ]


def test_stages_stand_below_the_bar_in_columns() -> None:
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=120, color_system=None)
    with progress("Ingest", "shards", 12, console=console) as report:
        report(3, parts=STAGES)
    lines = [line.rstrip() for line in terminal.getvalue().splitlines() if "at work" in line][-2:]
    assert lines == [
        "  speech   15.0 media/min   41.2 x real time   1 at work   11 shards waiting      3 set aside",
        "  decode   12.5 media/s     31.0 clips/s       2 at work   1,200 shards waiting   14 set aside",
    ]


def test_stages_follow_in_the_line_of_a_log() -> None:
    lines = list[str]()
    report = _Lines("Ingest", "shards", 12, 0, lines.append, clock=iter([0.0, 20.0, 20.0, 20.0]).__next__)
    report(4, note="40 clips", parts=STAGES[:1])
    assert lines == [
        "Ingest: 4 of 12 shards, 5.0 s each, 40 s left, 40 clips; "
        "speech: 15.0 media/min, 41.2 x real time, 1 at work, 11 shards waiting, 3 set aside"
    ]
