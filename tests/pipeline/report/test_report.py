"""The page, on facts of a run that never happened."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import simplejpeg

from ingest.records import Clip
from pipeline.report.charts import nice_ticks, running_mean
from pipeline.report.facts import ReportData
from pipeline.report.page import render, write_report
from pipeline.report.views import (
    Row,
    example_views,
    key_figures,
    line_charts,
    metrics_table,
    pick_samples,
    pictures,
    sample_view,
)
from pipeline.timecode import show_clock, show_duration
from tests.pipeline.report.report_facts import narrated_clip, report_data


class _Page(HTMLParser):
    """Collects what a browser would load, and checks that what is opened is closed."""

    VOID = frozenset({"meta", "link", "img", "br", "line", "path", "circle"})

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.loaded += [named[name] or "" for name in ("src", "data", "srcset") if name in named]
        self.loaded += [named["href"] or ""] if tag == "link" else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_loads_nothing_from_outside_itself_and_stays_small(tmp_path: Path) -> None:
    size = write_report(report_data(), str(tmp_path / "report.html"))
    text = (tmp_path / "report.html").read_text()
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert page.loaded
    assert all(address.startswith("data:") for address in page.loaded)
    assert not re.search(r"@import|url\(|<script", text)
    assert size < 5_000_000


def test_every_reject_is_on_the_page_and_its_text_is_not_taken_for_markup() -> None:
    data = report_data()
    text = render(data)
    assert all(reject.uri in text for reject in data.rejects)
    assert "begins with &lt;!DOCTYPE html&gt;" in text


def test_a_clip_that_its_text_did_not_find_is_shown_beside_what_it_found() -> None:
    found, _, third, missed = example_views(report_data())
    assert [hit.right for hit in found.hits] == [True, False, False, False, False]
    assert (third.own, third.hits[2].right) == ([], True)
    assert len(missed.own) == 4
    assert "its own clip is number 12" in render(report_data())


def test_the_registers_of_a_validation_share_a_picture_with_a_dot_per_checkpoint_and_the_level_of_chance() -> (
    None
):
    found, placed = line_charts(report_data().lines)
    assert [line.label for line in found.series] == ["A", "B", "D"]
    assert len(found.series[0].dots) == 4
    assert (found.levels, placed.levels) == (((2.0, "chance 2 %"),), ((25.0, "chance 25 %"),))


def test_a_run_without_search_evaluation_or_rejects_says_so() -> None:
    text = render(replace(report_data(), search=None, weights=(), curves=(), rejects=(), gallery={}))
    assert "No search was run" in text
    assert "Nothing was evaluated" in text
    assert "No losses were logged" in text
    assert "Nothing was set aside" in text


def rows_of(data: ReportData) -> dict[str, Row]:
    return {row.declared.name: row for _, rows in metrics_table(data).groups for row in rows}


def test_a_share_of_one_seed_stands_above_its_interval_and_a_rank_has_none() -> None:
    rows = rows_of(report_data(num_seeds=1))
    # 12 of 100, worked out from Wilson's formula: (12 + 1.96^2 / 2 -+ 1.96 sqrt(12 * 88 / 100 + 1.96^2 / 4)) / 103.84
    assert (rows["B/t2v_R1"].cells[2].text, rows["B/t2v_R1"].cells[2].spread) == ("12.0 %", "7.0 % to 19.8 %")
    assert rows["B/t2v_MedR"].cells[3].spread == ""


def test_the_leading_numbers_are_the_large_ones_with_chance_and_start_marked() -> None:
    figures = key_figures(report_data().weights)
    names = [figure.measured.name for figure in figures]
    assert names == ["A/t2v_R1", "B/t2v_R1", "D/t2v_R1", "sorting/position"]
    assert [mark.text for mark in figures[1].marks] == ["chance 1.0 %", "start weights 12.0 %"]


def test_the_best_of_a_row_is_the_highest_share_and_the_lowest_median_rank_and_a_control_has_none() -> None:
    rows = rows_of(report_data())
    assert [cell.best for cell in rows["B/t2v_R1"].cells] == [False, False, False, True]
    assert [cell.best for cell in rows["B/t2v_MedR"].cells] == [False, False, False, True]
    assert not any(cell.best for cell in rows["sorting/control"].cells)
    assert rows["B/t2v_R1"].cells[0].text == "1.0 %"
    assert rows["B/t2v_R1"].cells[3].text == "65.0 %"
    assert rows["B/t2v_R1"].cells[3].spread == "62.0 % to 68.0 %"


def test_an_utterance_stands_under_the_frames_of_its_time() -> None:
    clip, _ = narrated_clip(0)
    said = sample_view(clip).said
    assert said[0].left == 0
    assert round(said[1].left, 1) == round(100 * 2.1 / 8.2, 1)
    assert round(said[3].left + said[3].room, 6) == 100


def test_samples_take_turns_between_the_origins_of_their_words() -> None:
    given = [narrated_clip(seed, "provider")[0] for seed in range(4)]
    heard = [narrated_clip(seed, "tiny.en")[0] for seed in range(4, 6)]
    origins = [clip.transcripts[0].origin for clip in pick_samples([*given, *heard], 5)]
    assert origins == ["provider", "tiny.en", "provider", "tiny.en", "provider"]


def test_large_frames_become_thumbnails_and_references_have_none() -> None:
    jpeg = simplejpeg.encode_jpeg(np.zeros((1080, 1920, 3), np.uint8))
    clip = Clip("u", "m", "s", "video", "x.mp4", 0.0, 1.0, frames=(jpeg, jpeg))
    small, _ = pictures(clip, 12)
    assert len(small) < len(jpeg)
    assert pictures(replace(clip, frames=()), 4) == []


def test_ticks_enclose_the_values_in_round_steps() -> None:
    assert nice_ticks(0, 5.4, 5) == (0, 2, 4, 6)
    assert nice_ticks(0.1, 0.43, 5) == (0.1, 0.2, 0.3, 0.4, 0.5)


def test_a_running_mean_looks_back_and_not_ahead() -> None:
    assert running_mean([(0, 2.0), (1, 4.0), (2, 9.0)], 2) == ((0, 2.0), (1, 3.0), (2, 6.5))


def test_times_are_written_in_the_units_that_matter() -> None:
    assert [show_duration(s) for s in (0.42, 48, 185, 7_805)] == ["0.4 s", "48 s", "3 min 05 s", "2 h 10 min"]
    assert [show_clock(s) for s in (0.0, 7.34, 3_727.3)] == ["0:00.0", "0:07.3", "1:02:07.3"]
