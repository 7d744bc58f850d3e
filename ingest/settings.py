"""What decides the content of shards: every setting of the ingest graph."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal


@dataclass(frozen=True)
class Speech:
    """Transcription of media that have sound and no transcript."""

    engine: Literal["whisper"] = "whisper"
    """Speech engine."""
    model: str = "small.en"
    """Whisper model name, or the path or URI of a checkpoint in openai-whisper's format."""
    language: str = "en"
    """Language of the speech (ISO 639-1)."""
    batch_windows: int = 16
    """Windows decoded together; they may come from many media of one input shard."""
    window_s: float = 30.0
    """Longest window cut by voice activity, in seconds; Whisper reads at most 30."""
    num_gpus: float = 0.5
    """GPUs per speech actor (fractions allowed); ignored where the cluster has none."""
    min_actors: int = 1
    max_actors: int = 1
    """Size of the actor pool."""
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """Sampling temperatures, tried in turn while a window's text fails the next two checks (Whisper's defaults)."""
    compression_ratio: float = 2.4
    """Text that packs better than this repeats itself and is decoded again."""
    logprob: float = -1.0
    """Text with a lower mean log probability is decoded again."""
    no_speech: float = 0.6
    """A window is silent if it is so with a higher probability and its text is improbable (`logprob`)."""
    seed: int = 0
    """Seeds the temperature fallback, window by window."""
    deadline_s: float = 120.0
    """Seconds after which taking the sound out of one file is ended and the file set aside."""


@dataclass(frozen=True)
class Frames:
    """Candidate frames at rest: decoded once, drawn from at every epoch."""

    candidates: int = 24
    """Frames stored per clip; at least two for every frame that a training clip takes."""
    short_side: int = 268
    """Short side of the stored frames in pixels."""
    resize: Literal["nearest", "bicubic"] = "nearest"
    """"nearest" neighbour as published, or "bicubic", antialiased: fine patterns turn grey instead of false."""
    jpeg_quality: int = 95
    """JPEG quality, 1 to 100."""
    decoder: Literal["auto", "decord", "pyav"] = "auto"
    """`auto` takes PyAV, the faster on every kind of file measured, and falls back to decord."""
    deadline_s: float = 60.0
    """Seconds after which the decoding of one file is ended and the file set aside."""
    memory_mb: int = 4096
    """Memory limit of the decoding process in MiB (address space above what it starts with)."""


@dataclass(frozen=True)
class Ingest:
    """From media to clips."""

    transcripts: int = 4
    """K: consecutive utterances per narrated clip (TVTSv2, section 3)."""
    max_gap_s: float = 5.0
    """Longest silence between two utterances of one clip, in seconds."""
    frames: Frames = field(default_factory=Frames)
    speech: Speech = field(default_factory=Speech)
    rows_per_shard: int = 64
    """Rows of a list file that make one input shard."""
    row_group: int = 16
    """Clips per row group of the Parquet shards; sized for streaming."""
    decode_actors: int = 0
    """Parallel decoding workers; 0 takes what the CPU plan leaves."""

    def digest(self, narrated: bool) -> str:
        """Names what decides the content of a stream's shards; speed, limits and places are left out."""
        return hashlib.blake2b(json.dumps(self._content(narrated)).encode(), digest_size=8).hexdigest()

    def _content(self, narrated: bool) -> dict[str, Any]:
        content = asdict(self)
        speech, frames = content.pop("speech"), content.pop("frames")
        for name in ("decode_actors", *(() if narrated else ("transcripts", "max_gap_s"))):
            del content[name]
        for name in ("deadline_s", "memory_mb", "decoder"):
            del frames[name]
        for name in ("batch_windows", "num_gpus", "min_actors", "max_actors", "deadline_s"):
            del speech[name]
        speech["model"] = PurePosixPath(speech["model"]).name
        return {**content, "frames": frames, "speech": speech if narrated else None}
