"""Recorded numbers of the published code (TVTSv2, sections 10 and 11); whatever cases the set holds are run."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.decode.child import boundaries, middle_indices
from ingest.formats.alignment import align_denoised, clean_words
from ingest.records import Word
from ingest.stages.cut import WindowDraw, transcript_windows, transcripts


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    folder = Path(metafunc.config.getoption("--goldens"))
    recorded = {
        path.stem: json.loads(path.read_text()).get("data", {})
        for path in sorted(folder.glob("tvtsv2*.json"))
    }
    for argument, cases in (("sampling", _sampling), ("transcript", _transcripts)):
        if argument in metafunc.fixturenames:
            found = [pytest.param(case, id=name) for name, case in cases(recorded)]
            metafunc.parametrize(argument, found)


def _sampling(recorded: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, data in recorded.items():
        for case in data.get("frame_sampling", []):
            yield f"golden-{name}-{case['num_frames']}-of-{case['video_len']}", case


def _transcripts(recorded: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, data in recorded.items():
        if "transcripts" in data:
            yield f"golden-{name}", data["transcripts"]


def test_the_set_holds_cases_for_ingest(goldens: Path) -> None:
    recorded = [json.loads(path.read_text()) for path in goldens.glob("tvtsv2*.json")]
    assert any("frame_sampling" in case.get("data", {}) for case in recorded), f"no golden cases in {goldens}"


def test_frame_numbers_equal_the_recorded_ones(sampling: dict[str, Any]) -> None:
    asked = sampling["num_frames"], sampling["video_len"]
    assert boundaries(*asked).tolist() == sampling["boundaries"]
    assert middle_indices(*asked).tolist() == sampling["uniform"]


def test_denoised_words_land_on_the_recorded_raw_words(transcript: dict[str, Any]) -> None:
    assert [word.text for word in _aligned(transcript["annotation"])] == transcript["aligned_words"]


def test_windows_and_their_transcripts_equal_the_recorded_ones(transcript: dict[str, Any]) -> None:
    words = _aligned(transcript["annotation"])
    for case in transcript["cases"]:
        draw = WindowDraw(case["seconds_per_clip"], case["start_integer_part"], case["start_fraction"])
        windows = transcript_windows(case["duration_used"], draw)
        assert [start for start, _ in windows] == pytest.approx(case["starts"], abs=1e-12)
        assert [end for _, end in windows] == pytest.approx(case["ends"], abs=1e-12)
        assert transcripts(words, windows) == case["texts"]


def _aligned(annotation: dict[str, Any]) -> list[Word]:
    words = clean_words([Word(item["word"], item["time"]) for item in annotation["subtitles"]])
    return align_denoised(words, [item["cleanasr"] for item in annotation["denoised"]])
