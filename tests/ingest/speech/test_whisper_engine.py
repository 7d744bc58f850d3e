"""openai-whisper's own functions against our batches, on the demo's speech model and on random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from whisper.model import ModelDimensions, Whisper
from whisper.timing import add_word_timestamps

from infra.errors import UserError
from ingest.settings import Speech
from ingest.speech.engine import SAMPLE_RATE
from ingest.speech.recogniser import Recogniser
from ingest.speech.time_tokens import timed_tokens
from ingest.speech.whisper_engine import WhisperModel
from tests.ingest.speech.windows import narrated_window, sentences


def test_a_batch_says_what_whisper_decode_says_window_by_window(demo: Path) -> None:
    model, theirs = WhisperModel(Speech(model=str(demo))), whisper.load_model(str(demo))
    # One to eight sentences: rows end at different times and leave the batch.
    sounds = [narrated_window(n, count).samples for n, count in enumerate((1, 8, 2, 1, 4))]
    ours = model.decode(model.encode(sounds), ["en"] * len(sounds), 0.0, range(len(sounds)))
    for sound, found in zip(sounds, ours, strict=True):
        mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(sound))
        expected = whisper.decode(theirs, mel, whisper.DecodingOptions(language="en", fp16=False))
        assert list(found.tokens) == expected.tokens
        assert found.text == expected.text
        assert found.avg_logprob == pytest.approx(expected.avg_logprob, abs=1e-4)
        assert found.no_speech_prob == pytest.approx(expected.no_speech_prob, abs=1e-6)
        assert not found.cut_off


def test_rules_of_tokens_and_prompts_in_two_languages_are_whispers(random_model: Path) -> None:
    model, theirs = WhisperModel(Speech(model=str(random_model))), whisper.load_model(str(random_model))
    generator = np.random.default_rng(0)
    sounds = [generator.normal(0, 0.02 * 3**n, SAMPLE_RATE * (n + 1)).astype(np.float32) for n in range(4)]
    languages = ["en", "de", "fr", "de"]
    ours = model.decode(model.encode(sounds), languages, 0.0, range(4))
    assert all(found.cut_off for found in ours)  # 32 tokens, and random weights seldom end
    for sound, language, found in zip(sounds, languages, ours, strict=True):
        mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(sound))
        expected = whisper.decode(theirs, mel, whisper.DecodingOptions(language=language, fp16=False))
        assert list(found.tokens) == expected.tokens
        assert found.avg_logprob == pytest.approx(expected.avg_logprob, abs=1e-4)


def test_drawing_at_a_temperature_follows_the_models_probabilities(random_model: Path) -> None:
    model = WhisperModel(Speech(model=str(random_model)))
    (encoded,) = model.encode([np.ones(SAMPLE_RATE, np.float32) * 0.1])
    drawn = model.decode([encoded] * 8, ["en"] * 8, 1.0, range(8))
    again = model.decode([encoded] * 3, ["en"] * 3, 1.0, [5, 2, 5])
    assert [found.tokens for found in again] == [drawn[n].tokens for n in (5, 2, 5)]
    assert len({found.tokens for found in drawn}) == 8
    cold = model.decode([encoded] * 2, ["en"] * 2, 1e-4, [1, 2])  # nearly no chance left
    (likeliest,) = model.decode([encoded], ["en"], 0.0, [1])
    assert cold[0].tokens == cold[1].tokens == likeliest.tokens


def test_recognising_leaves_the_random_state_as_it_was(random_model: Path) -> None:
    model = WhisperModel(Speech(model=str(random_model)))
    before = torch.random.get_rng_state()
    model.decode(model.encode([np.zeros(8000, np.float32)]), ["en"], 1.0, [1])
    assert torch.equal(before, torch.random.get_rng_state())


def test_words_and_their_segments_are_those_of_whispers_own_timing(demo: Path) -> None:
    settings = Speech(model=str(demo), word_times=True, temperatures=(0.0,))
    model, theirs = WhisperModel(settings), whisper.load_model(str(demo))
    window = narrated_window(9, 4, start_s=100.0)
    (found,) = Recogniser(model, settings).transcripts([[window]])
    (said,) = model.decode(model.encode([window.samples]), ["en"], 0.0, [0])
    timed = timed_tokens(said.tokens, model.tokenizer("en"), window.duration_s)
    segments = [
        {"seek": 0, "start": item.start_s, "end": item.end_s, "tokens": item.tokens} for item in timed
    ]
    add_word_timestamps(
        segments=segments,
        model=theirs,
        tokenizer=model.tokenizer("en"),
        mel=whisper.log_mel_spectrogram(whisper.pad_or_trim(window.samples)),
        num_frames=len(window.samples) // 160,
        last_speech_timestamp=0.0,
    )
    assert [segment.text for segment in found.segments] == sentences(9, 4)
    for ours, expected in zip(found.segments, segments, strict=True):
        assert ours.start_s - 100 == pytest.approx(expected["start"], abs=0.011)
        assert ours.end_s - 100 == pytest.approx(expected["end"], abs=0.011)
        assert [word.text for word in ours.words] == ours.text.split()
        for word, other in zip(ours.words, expected["words"], strict=True):
            assert word.text == other["word"].strip()
            assert word.start_s - 100 == pytest.approx(other["start"], abs=0.011)
            assert word.end_s - 100 == pytest.approx(other["end"], abs=0.011)


def test_a_copy_of_a_public_model_is_timed_by_its_known_attention_heads(
    tmp_path: Path, random_model: Path
) -> None:
    dims = ModelDimensions(80, 1500, 24, 6, 1, 51865, 64, 24, 6, 4)  # as many heads as tiny has, but narrow
    torch.save({"dims": vars(dims), "model_state_dict": Whisper(dims).state_dict()}, tmp_path / "tiny.pt")
    tiny = WhisperModel(Speech(model=str(tmp_path / "tiny.pt")))._model
    known = [[2, 2], [3, 0], [3, 2], [3, 3], [3, 4], [3, 5]]
    assert tiny.alignment_heads.indices().T.tolist() == known
    other = tmp_path / "base.pt"  # a public name on another model
    other.write_bytes(random_model.read_bytes())
    assert WhisperModel(Speech(model=str(other)))._model.alignment_heads.indices().T.tolist() == [
        [0, 0],
        [0, 1],
    ]


def test_what_is_no_checkpoint_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file, nor one of Whisper's models"):
        WhisperModel(Speech(model=str(tmp_path / "absent.pt")))
    (tmp_path / "bad.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match=r"bad\.pt: not a checkpoint openai-whisper can load"):
        WhisperModel(Speech(model=str(tmp_path / "bad.pt")))
