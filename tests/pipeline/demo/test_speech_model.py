"""The shipped speech model is small and is, to openai-whisper, a checkpoint as any other."""

import numpy as np
import pytest
import torch
import whisper
from whisper.model import Whisper

from pipeline.demo.films import narrate
from pipeline.demo.grammar import ALL_EVENTS
from pipeline.demo.scenes import Canvas
from pipeline.demo.speech_learner import Vocabulary, fresh_model, whole_state
from pipeline.demo.speech_model import DIMENSIONS, PACKED_MODEL, pack, unpack, write_checkpoint
from pipeline.demo.speech_scores import word_errors
from pipeline.demo.speech_windows import english_tokenizer, used_tokens
from pipeline.demo.voice import NARRATORS


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    checkpoint = tmp_path_factory.mktemp("speech") / "tiny.pt"
    write_checkpoint(checkpoint)
    return whisper.load_model(str(checkpoint), device="cpu")


def test_what_is_packed_is_unpacked_to_half_precision(tmp_path):
    torch.manual_seed(0)
    vocabulary = Vocabulary(english_tokenizer())
    state = whole_state(fresh_model(vocabulary), vocabulary)
    pack(state, vocabulary.tokens, tmp_path / "model.bin")
    unpacked = unpack(tmp_path / "model.bin")
    Whisper(DIMENSIONS).load_state_dict(unpacked)
    for name, value in state.items():
        torch.testing.assert_close(unpacked[name], value, rtol=1e-3, atol=1e-4)


def test_the_shipped_file_is_under_three_megabytes():
    assert PACKED_MODEL.stat().st_size < 3_000_000


def test_whisper_takes_the_shipped_model_for_an_english_one(model):
    assert not model.is_multilingual
    assert model.dims == DIMENSIONS


def test_rows_of_words_never_spoken_are_zero_and_all_others_are_not(model):
    rows = model.decoder.token_embedding.weight.abs().sum(dim=1)
    assert rows.nonzero().flatten().tolist() == used_tokens(english_tokenizer())


@pytest.mark.parametrize("padded", [True, False])
def test_whisper_transcribes_twenty_seconds_it_never_heard(model, padded):
    events = [ALL_EVENTS[i] for i in (100, 41, 7, 128, 66, 23, 90, 14)]
    sound = narrate(events, Canvas(), NARRATORS[1], np.random.default_rng(11))
    # Ten seconds of silence follow, or nothing: then Whisper fills its spectrogram with zeros.
    samples = whisper.pad_or_trim(sound.samples) if padded else sound.samples
    result = whisper.transcribe(model, samples, temperature=0.0, fp16=False, language="en")
    wrong, spoken = word_errors(" ".join(sound.sentences), result["text"])
    assert spoken == 40
    assert wrong <= 4
    begins = [word.start_s for word in sound.words if word.text == "A"]
    starts = [segment["start"] for segment in result["segments"]]
    assert len(starts) == len(begins)
    assert np.median(np.abs(np.subtract(starts, begins))) < 0.5
