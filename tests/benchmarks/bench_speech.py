"""Speech: seconds of sound per second, windows of many media in one batch against `whisper.transcribe` file by file.

    python -m tests.benchmarks.bench_speech [--quick] [--model tiny] [--batch 16] [--threads 1] [--tokens 80]

Both sides get the sound of the same media in memory and the same checkpoint, at temperature 0 without fallback. Ours
finds speech, cuts windows and decodes them together. The checkpoint has random weights in the public dimensions; it
says a fixed number of tokens for every window of either side, as a real one would for half a minute of speech
(`--tokens`, time tokens included), and no time token that would make `whisper.transcribe` read a stretch twice.
Previous text is not given to the next window on either side: it would cost the rival more.
"""

import argparse
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import whisper
from numpy.typing import NDArray
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import get_tokenizer

from ingest.settings import Speech
from ingest.speech.engine import SAMPLE_RATE, SpeechWindow
from ingest.speech.recogniser import Recogniser
from ingest.speech.voice_activity import speech_spans, windows
from ingest.speech.whisper_engine import WhisperModel
from pipeline.demo.voice import speak
from tests.benchmarks.paired import result, timed_in_turns

DIMENSIONS = {
    "tiny": ModelDimensions(80, 1500, 384, 6, 4, 51865, 448, 384, 6, 4),
    "base": ModelDimensions(80, 1500, 512, 8, 6, 51865, 448, 512, 8, 6),
    "small": ModelDimensions(80, 1500, 768, 12, 12, 51865, 448, 768, 12, 12),
    "large-v2": ModelDimensions(80, 1500, 1280, 20, 32, 51865, 448, 1280, 20, 32),
}
SENTENCES = (
    "A red circle floats upward past the old harbour wall.",
    "Then we turn the handle twice and wait for the light.",
    "Nobody had seen the river this high in forty years.",
    "Cut the onions as thin as you can, and keep the skins.",
    "The second engine starts a little later than the first.",
)
LENGTHS_S = (12, 25, 31, 48, 64, 20, 90, 37)


def write_checkpoint(path: Path, dims: ModelDimensions, num_tokens: int) -> None:
    """Random weights that say `num_tokens` tokens, whatever they hear, and then that the text has ended.

    One direction of the model's space is taken by the position: tokens before the last one point away from time
    tokens and the end, the position after it points to the end.
    """
    torch.manual_seed(0)
    model = Whisper(dims)
    tokenizer = get_tokenizer(multilingual=True, num_languages=model.num_languages)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.dim() > 1:
                value.normal_(std=0.02)
            elif not name.endswith("weight"):
                value.zero_()
        table, positions = model.decoder.token_embedding.weight, model.decoder.positional_embedding
        table[:, 0] = 0.0
        table[[tokenizer.eot, tokenizer.no_speech], 0] = torch.tensor([4.0, -4.0])
        table[tokenizer.timestamp_begin :, 0] = -4.0
        begin = len(tokenizer.sot_sequence) - 1  # the position that says the first token
        positions[:, 0] = 30.0
        positions[: begin + num_tokens, 0] = 0.0
        table[tokenizer.eot, 1] = -4.0
        table[tokenizer.timestamp_begin :, 1] = -4.0
        positions[: begin + num_tokens, 1] = 30.0
    torch.save({"dims": asdict(dims), "model_state_dict": model.state_dict()}, path)


def narrated(seconds: float, seed: int) -> NDArray[np.float32]:
    """Speech with short pauses, this long."""
    rng = np.random.default_rng(seed)
    pieces, length = [np.zeros(SAMPLE_RATE // 2, np.float32)], SAMPLE_RATE // 2
    while length < seconds * SAMPLE_RATE:
        said = speak(SENTENCES[rng.integers(len(SENTENCES))]).samples
        pieces += [said, np.zeros(int(rng.uniform(0.2, 0.9) * SAMPLE_RATE), np.float32)]
        length += len(pieces[-1]) + len(said)
    return np.concatenate(pieces)[: int(seconds * SAMPLE_RATE)]


def speech_windows(number: int, sound: NDArray[np.float32]) -> list[SpeechWindow]:
    """What the transcribe stage gives the engine."""
    samples = (sound * 32767).astype(np.int16)
    found = []
    for span in windows(speech_spans(samples), len(samples) / SAMPLE_RATE, longest_s=30.0):
        part = samples[round(span.start_s * SAMPLE_RATE) : round(span.end_s * SAMPLE_RATE)]
        key = f"{number}/{span.start_s:.3f}"
        found.append(SpeechWindow(key, span.start_s, np.asarray(part / 32768, np.float32)))
    return found


def main() -> None:
    """Make what is needed, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="four media, 20 tokens, one repeat")
    parser.add_argument("--model", choices=sorted(DIMENSIONS), default="tiny")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--tokens", type=int, default=80)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--media", type=int, default=len(LENGTHS_S))
    given = parser.parse_args()
    if given.quick:
        given.media, given.tokens, given.repeats = 4, 20, 1
    torch.set_num_threads(given.threads)
    sounds = [narrated(LENGTHS_S[n % len(LENGTHS_S)], seed=n) for n in range(given.media)]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / f"{given.model}.pt"
        write_checkpoint(checkpoint, DIMENSIONS[given.model], given.tokens)
        settings = Speech(model=str(checkpoint), batch_windows=given.batch, temperatures=(0.0,))
        loaded = WhisperModel(settings)
        ours = Recogniser(loaded, settings)
        model = whisper.load_model(str(checkpoint))
    said: dict[str, list[int]] = {"ours": [], "whisper": []}
    (checked,) = loaded.decode(loaded.encode([sounds[0]]), ["en"], 0.0, [0])
    assert len(checked.tokens) == given.tokens, "the checkpoint does not say what it was made to say"

    def batched() -> None:
        transcripts = ours.transcripts([speech_windows(n, sound) for n, sound in enumerate(sounds)])
        said["ours"] = [len(segment.text) for transcript in transcripts for segment in transcript.segments]

    def file_by_file() -> None:
        said["whisper"] = []
        for sound in sounds:
            found = whisper.transcribe(
                model,
                sound,
                language="en",
                temperature=0.0,
                condition_on_previous_text=False,
                fp16=model.device.type == "cuda",
            )
            said["whisper"] += [len(segment["tokens"]) for segment in found["segments"]]

    # Processor time of this process: one core's work, where other programs share the machine.
    clock = time.process_time if model.device.type == "cpu" else time.perf_counter
    pair = timed_in_turns(batched, file_by_file, given.repeats, clock)
    seconds = sum(len(sound) for sound in sounds) / SAMPLE_RATE
    print(f"{given.model}, batch {given.batch}, {given.threads} threads, {model.device}, {len(sounds)} media")
    print(
        f"windows: ours {len(said['ours'])}, whisper {len(said['whisper'])} of {sorted(set(said['whisper']))} tokens"
    )
    print(
        f"seconds of sound per second: ours {seconds / pair.ours_s:.2f}, whisper {seconds / pair.other_s:.2f}"
    )
    result(
        f"speech_{given.model}_{model.device.type}", pair.ratio, "1.5" if model.device.type == "cpu" else "8"
    )


if __name__ == "__main__":
    main()
