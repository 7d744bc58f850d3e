"""Windows of many media in one batch: whose text is whose, in which language, and what follows a full window."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper

from infra.errors import UserError
from ingest.settings import Speech
from ingest.speech.engine import SAMPLE_RATE, SpeechWindow
from ingest.speech.recogniser import Recogniser, Transcript
from ingest.speech.whisper_engine import WhisperModel
from tests.ingest.speech.windows import narrated_window, sentences


def engine(settings: Speech) -> Recogniser:
    return Recogniser(WhisperModel(settings), settings)


def noises(count: int) -> list[SpeechWindow]:
    generator = np.random.default_rng(0)
    sounds = [
        generator.normal(0, 0.02 * 3**n, SAMPLE_RATE * (n + 1)).astype(np.float32) for n in range(count)
    ]
    return [SpeechWindow(f"w{n}", 100.0 * n, sound) for n, sound in enumerate(sounds)]


def texts(transcript: Transcript) -> list[str]:
    return [segment.text for segment in transcript.segments]


def test_each_medium_gets_its_own_words_whatever_the_order_and_batch_size(demo: Path) -> None:
    # Media of two, one and no windows; each window says something else.
    shapes = ((0, 2), (10, 1), (20, 0), (30, 1))
    media = [
        [narrated_window(first + 3 * n, n + 1, start_s=30.0 * n) for n in range(count)]
        for first, count in shapes
    ]
    expected = [
        [text for n in range(count) for text in sentences(first + 3 * n, n + 1)] for first, count in shapes
    ]
    for size, orders in ((16, ("0123", "3210")), (3, ("1302", "2031")), (1, ("0123",))):
        recogniser = engine(Speech(model=str(demo), batch_windows=size, temperatures=(0.0,)))
        for order in orders:
            found = recogniser.transcripts([media[int(n)] for n in order])
            assert [texts(transcript) for transcript in found] == [expected[int(n)] for n in order]


def test_a_window_drawn_again_gets_the_same_text_beside_any_others(random_model: Path) -> None:
    # A random model never passes Whisper's checks, so each window goes through every temperature.
    settings = Speech(model=str(random_model), temperatures=(0.0, 0.7), batch_windows=3, no_speech=None)
    recogniser = engine(settings)
    windows = noises(4)
    found = [texts(item) for item in recogniser.transcripts([[window] for window in windows])]
    assert len({str(item) for item in found}) == 4
    for order in ([2, 0, 1, 3], [1]):
        again = recogniser.transcripts([[windows[n]] for n in order])
        assert [texts(item) for item in again] == [found[n] for n in order]


def test_the_language_is_the_likeliest_over_the_opening_windows(random_model: Path) -> None:
    windows = noises(4)  # 1, 2, 3 and 4 s
    settings = Speech(model=str(random_model), language=None, language_s=3.0, temperatures=(0.0,))
    (found,) = engine(settings).transcripts([windows])
    model = whisper.load_model(str(random_model))
    mels = [whisper.log_mel_spectrogram(whisper.pad_or_trim(window.samples)) for window in windows[:2]]
    first, second = (model.detect_language(mel)[1] for mel in mels)
    mean = {code: (first[code] + 2 * second[code]) / 3 for code in first}
    assert found.language.code == max(mean, key=lambda code: mean[code])
    assert found.language.probability == pytest.approx(max(mean.values()), abs=1e-5)
    assert found.wanted


def test_media_in_languages_that_are_not_wanted_are_not_decoded(random_model: Path) -> None:
    media = [[window] for window in noises(2)]
    heard = Speech(model=str(random_model), language=None, temperatures=(0.0,), no_speech=None)
    told = engine(heard).transcripts(media)
    code = told[0].language.code
    assert [item.language.code for item in told] == [code, code]
    assert engine(replace(heard, languages=("en", code))).transcripts(media) == told
    refused = engine(replace(heard, languages=("en",))).transcripts(media)
    assert refused == [replace(item, wanted=False, segments=()) for item in told]


def test_a_language_that_is_not_known_is_refused(random_model: Path, demo: Path) -> None:
    with pytest.raises(UserError, match="'german'"):
        engine(Speech(model=str(random_model), language="german"))
    with pytest.raises(UserError, match="knows English alone, not 'de'"):
        engine(Speech(model=str(demo), language="de"))
    (found,) = engine(Speech(model=str(demo), language=None)).transcripts([[narrated_window(0, 1)]])
    assert (found.language.code, found.language.probability) == ("en", 1.0)
    with pytest.raises(ValueError, match=r"speech\.languages"):
        Speech(language="en", languages=("en",))


def test_a_window_that_says_more_than_one_decoding_holds_is_heard_to_its_end(
    demo: Path, tmp_path: Path
) -> None:
    saved = torch.load(demo, weights_only=True)
    saved["dims"]["n_text_ctx"] = 64  # 32 tokens a decoding: three of the demo's sentences
    saved["model_state_dict"]["decoder.positional_embedding"] = saved["model_state_dict"][
        "decoder.positional_embedding"
    ][:64]
    torch.save(saved, tmp_path / "short.pt")
    recogniser = engine(Speech(model=str(tmp_path / "short.pt"), temperatures=(0.0,)))
    media = [[narrated_window(0, 5)], [narrated_window(8, 1), narrated_window(10, 5, start_s=40.0)]]
    found = recogniser.transcripts(media)
    assert texts(found[0]) == sentences(0, 5)
    assert texts(found[1]) == [*sentences(8, 1), *sentences(10, 5)]


def test_text_that_stutters_at_every_temperature_is_left_out(demo: Path) -> None:
    (sound,) = [narrated_window(0, 1).samples]
    window = SpeechWindow("again", 0.0, np.tile(sound, 4))
    settings = Speech(model=str(demo), temperatures=(0.0,))
    (kept,) = engine(settings).transcripts([[window]])
    assert texts(kept) == sentences(0, 1) * 4
    (left_out,) = engine(replace(settings, repeats=3)).transcripts([[window]])
    assert left_out.segments == ()
