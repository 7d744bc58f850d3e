"""What the speech model is taught: sound, and the tokens Whisper would say to it."""

import numpy as np
import pytest
from whisper.audio import N_FRAMES

from pipeline.demo.grammar import ALL_EVENTS, narration
from pipeline.demo.speech_scores import start_errors_s, word_errors
from pipeline.demo.speech_windows import (
    Lesson,
    NarratedWindow,
    Phrase,
    Sentence,
    draw_window,
    english_tokenizer,
    mel_of,
    tokens_of,
    used_tokens,
)
from pipeline.demo.voice import SAMPLE_RATE, speak

TOKENIZER = english_tokenizer()


@pytest.fixture(scope="module")
def phrases():
    texts = [narration(event) for event in ALL_EVENTS[:3]]
    return [Phrase(text, (speak(text).samples * 32767).astype(np.int16)) for text in texts]


def window(duration_s, *sentences):
    return NarratedWindow(np.zeros(int(duration_s * SAMPLE_RATE), np.float32), sentences, duration_s)


def test_two_sentences_are_said_between_their_times():
    said = tokens_of(
        window(9, Sentence("A red cross.", 0.52, 2.0), Sentence("A blue cross.", 3.0, 4.0)), TOKENIZER
    )
    assert TOKENIZER.decode_with_timestamps(said) == (
        "<|0.50|> A red cross.<|2.00|><|3.00|> A blue cross.<|4.00|><|endoftext|>"
    )


def test_a_sentence_cut_by_the_end_is_announced_by_its_start_alone():
    said = tokens_of(window(5, Sentence("A red cross.", 4.0, 6.0)), TOKENIZER)
    assert TOKENIZER.decode_with_timestamps(said) == "<|4.00|><|endoftext|>"


def test_silence_is_no_speech():
    assert tokens_of(window(5), TOKENIZER) == [TOKENIZER.no_speech, TOKENIZER.eot]


def test_drawn_windows_say_only_used_tokens_and_last_as_long_as_asked(phrases):
    rng, used = np.random.default_rng(0), set(used_tokens(TOKENIZER))
    lesson = Lesson(30.0, max_sentences=10, cut_share=0.3)
    for _ in range(20):
        drawn = draw_window(rng, phrases, lesson)
        assert mel_of(drawn).shape == (80, N_FRAMES)
        assert set(tokens_of(drawn, TOKENIZER)) <= used


def test_a_blank_window_is_padded_with_zeros_in_the_spectrogram_others_with_silence(phrases):
    rng = np.random.default_rng(0)
    for blank in (0.0, 1.0):
        drawn = draw_window(rng, phrases, Lesson(12.0, max_sentences=1, silent_share=0.0, blank_share=blank))
        padding = mel_of(drawn)[:, int(drawn.recorded_s * 100) + 2 :]
        assert padding.max() == padding.min()
        assert (padding == 0).all() == bool(blank)


def test_sentences_of_a_window_do_not_overlap_and_are_where_the_sound_is(phrases):
    rng = np.random.default_rng(0)
    for _ in range(20):
        drawn = draw_window(rng, phrases, Lesson(12.0, max_sentences=5, silent_share=0.0))
        times = [time for s in drawn.sentences for time in (s.start_s, s.end_s)]
        assert times == sorted(times)
        first = drawn.sentences[0].start_s
        loud = np.abs(drawn.samples[int(first * SAMPLE_RATE) :][:SAMPLE_RATE]).max()
        assert loud > 3 * np.abs(drawn.samples[: int(first * SAMPLE_RATE)]).max(initial=0)


def test_one_wrong_and_one_missing_word_of_five_are_two_errors():
    assert word_errors("A red circle floats upward.", "a blue circle floats") == (2, 5)


def test_a_start_is_compared_with_the_nearest_one_recognised():
    assert start_errors_s([1.0, 5.0], [0.5, 5.25]) == [0.5, 0.25]
    assert start_errors_s([1.0], []) == [float("inf")]
