"""The narrator speaks, says when, and repeats itself exactly."""

from pathlib import Path

import espeakng_loader
import numpy as np
import pytest

from pipeline.demo import voice
from pipeline.demo.voice import NARRATORS, SAMPLE_RATE, Speaker, speak

SENTENCE = "A red circle floats upward."


def test_a_sentence_has_its_words_in_order_each_later_than_the_one_before():
    speech = speak(SENTENCE)
    assert [word.text for word in speech.words] == ["A", "red", "circle", "floats", "upward"]
    starts = [word.start_s for word in speech.words]
    assert starts == sorted(set(starts))
    assert starts[-1] < speech.duration_s < 3


def test_speech_is_audible_and_does_not_clip():
    assert 0.2 < np.abs(speak(SENTENCE).samples).max() <= 1


def test_a_tone_keeps_its_pitch_when_resampled():
    tone = np.sin(2 * np.pi * 440 * np.arange(22_050) / 22_050).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(voice._resample(tone, 22_050)))
    assert len(spectrum) == SAMPLE_RATE // 2 + 1
    assert spectrum.argmax() == 440  # one second: a bin a hertz


@pytest.mark.parametrize("speaker", NARRATORS, ids=lambda speaker: speaker.voice)
def test_a_narrator_repeats_a_sentence_exactly_whatever_was_said_in_between(speaker):
    once = speak(SENTENCE, speaker)
    speak("A purple triangle tumbles down.", Speaker("en-us"))
    assert np.array_equal(once.samples, speak(SENTENCE, speaker).samples)


def test_an_unknown_voice_is_named():
    with pytest.raises(ValueError, match="nobody"):
        speak(SENTENCE, Speaker("nobody"))


def test_data_behind_a_long_path_are_reached_through_a_short_link(tmp_path):
    far = tmp_path / ("x" * 120) / ("y" * 120)
    far.mkdir(parents=True)
    short = voice._short_data_path(far)
    assert len(str(short)) < 140
    assert short.resolve() == far.resolve()
    near = Path(espeakng_loader.get_data_path())
    # where the environment itself lies that deep, its path is a far one too
    assert len(str(near)) > 140 or voice._short_data_path(near) == near
