"""What decides the content of shards: every setting of the ingest graph."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal


@dataclass(frozen=True)
class Speech:
    """Transcription of media that have sound and no transcript."""

    engine: Literal["whisper", "faster-whisper"] = "whisper"
    """openai-whisper, or CTranslate2 through the extra `faster-whisper`."""
    model: str = "small.en"
    """Whisper model name, or the path or URI of a checkpoint in the engine's format: a file of openai-whisper, a
    folder that CTranslate2's converter wrote."""
    language: str | None = "en"
    """Language of the speech (ISO 639-1); None: heard in the first speech of each medium."""
    languages: tuple[str, ...] = ()
    """Where languages are heard: those wanted; media in others are set aside. Empty: all."""
    language_s: float = 30.0
    """Speech listened to before the language is decided, in seconds."""
    word_times: bool = False
    """When each word is said, too (Whisper's cross attention); sentences then begin and end where words do."""
    batch_windows: int = 16
    """Windows decoded together; they may come from many media of one input shard."""
    window_s: float = 30.0
    """Longest window cut by voice activity, in seconds; Whisper reads at most 30."""
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """Sampling temperatures, tried in turn while a window's text fails the checks below (Whisper's defaults)."""
    compression_ratio: float | None = 2.4
    """Text that packs better than this repeats itself and is decoded again; None: not checked."""
    logprob: float | None = -1.0
    """Text with a lower mean log probability is decoded again; None: not checked."""
    no_speech: float | None = 0.6
    """A window is silent if it is so with a higher probability and its text is improbable (`logprob`); None: never."""
    repeats: int | None = None
    """Text in which one phrase of up to eight words follows itself more often is decoded again, and left out if no
    temperature helps. None: not checked, as in Whisper: people do say "no, no, no, no", and the compression ratio
    catches long loops. 4 is a mild choice where music and noise make Whisper stutter."""
    seed: int = 0
    """Seeds the temperature fallback, window by window."""
    deadline_s: float = 120.0
    """Seconds after which taking the sound out of one file is ended and the file set aside."""

    def __post_init__(self) -> None:
        if self.languages and self.language is not None:
            raise ValueError(
                "speech.languages chooses among languages that are heard: set speech.language to None"
            )
        if not 1.0 <= self.window_s <= 30.0:
            raise ValueError(
                f"speech.window_s is {self.window_s:g}: Whisper reads windows of 1 to 30 seconds"
            )
        if not self.temperatures:
            raise ValueError(
                "speech.temperatures is empty: the first one decodes (0.0 takes the likeliest text)"
            )


@dataclass(frozen=True)
class Frames:
    """Candidate frames at rest: decoded once, drawn from at every epoch."""

    candidates: int = 24
    """Frames stored per clip; at least two for every frame that a training clip takes."""
    store: Literal["jpeg", "raw", "reference"] = "jpeg"
    """What a clip keeps of them: JPEG, each a raw image without loss (PPM; sizes: `ingest/README.md`), or no image at
    all but a reference to the file, from which training decodes the frames that an epoch draws."""
    short_side: int = 268
    """Short side of the stored frames in pixels."""
    resize: Literal["nearest", "bicubic"] = "nearest"
    """"nearest" neighbour as published, or "bicubic", antialiased: fine patterns turn grey instead of false."""
    jpeg_quality: int = 95
    """JPEG quality, 1 to 100."""
    decoder: Literal["auto", "decord", "pyav", "torchcodec"] = "auto"
    """`auto` takes PyAV and falls back to decord. (All measured: `tests/benchmarks/README.md`.)
    torchcodec (extra) decodes on the GPU where decoding actors have one (`pools.decode.num_gpus`)."""
    deadline_s: float = 60.0
    """Seconds after which the decoding of one file is ended and the file set aside."""
    memory_mb: int = 4096
    """Memory limit of the decoding process in MiB (address space above what it starts with)."""


@dataclass(frozen=True)
class Sentences:
    """A clip is a run of consecutive sentences; it begins and ends where sentences do."""

    transcripts: int = 4
    """K: transcripts per clip (TVTSv2, section 3)."""
    max_gap_s: float = 5.0
    """Longest silence between two sentences of one clip, in seconds."""
    min_transcript_s: float = 0.0
    """Sentences are joined until a transcript lasts this long; 0: each sentence is one."""


@dataclass(frozen=True)
class RandomWindows:
    """TVTSv2's own (section 11): K windows of 3 to 5 s, a second apart, at a drawn place; sentences do not matter."""

    transcripts: int = 4
    """K: transcripts per clip."""
    draws: int = 4
    """Clips drawn from each video; one pass over them is as many of the paper's epochs."""
    seed: int = 0
    """Seeds the draws, video by video."""


@dataclass(frozen=True)
class FixedWindows:
    """Clips of one length, end to end; a remainder of less than half of it is left out."""

    window_s: float = 16.0
    """Length of a clip in seconds."""
    transcripts: int = 4
    """K: equal parts of a narrated clip; the words that begin in one are its transcript."""


@dataclass(frozen=True)
class Whole:
    """The whole medium is one clip."""


@dataclass(frozen=True)
class Filters:
    """What is set aside although it can be read. The defaults keep everything but a medium that comes twice."""

    min_duration_s: float = 0.0
    """Shortest video, in seconds."""
    max_duration_s: float = 0.0
    """Longest video, in seconds; 0: any."""
    min_short_side: int = 0
    """Smallest short side of a video or image, in pixels."""
    min_words_per_s: float = 0.0
    """Fewest words per second of a narrated clip, of what its transcripts say."""
    min_motion: float = 0.0
    """Smallest share of a video clip's pixels that change by more than 16 of 255 grey levels from one stored frame
    to the next; 0.005 finds slides and title cards."""
    duplicates: Literal["key", "content"] = "key"
    """Media of one input shard with the same key, or with the same bytes, are kept once. Input shards know nothing of
    each other: of equal media in two of them both are stored, and training and evaluation read both. With "content"
    such clips have equal ids, by which whoever reads all shards can tell them."""


@dataclass(frozen=True)
class Pool:
    """The actors of one stage, and what each of them declares to Ray."""

    min_actors: int = 0
    """Actors that are started at once; 0: worked out from the cluster."""
    max_actors: int = 0
    """Actors where there is work and room for them; 0: worked out from the cluster."""
    num_cpus: float = 0.0
    """CPUs of one actor; 0: one, or a quarter where the cluster has fewer than six."""
    num_gpus: float = 0.0
    """GPUs of one actor: a fraction of one, or whole ones; none is asked for where the cluster has none."""
    memory_mb: int = 0
    """Memory that Ray sets aside for one actor on its node, in MiB; 0: actors are placed without regard to memory."""

    def __post_init__(self) -> None:
        if min(self.min_actors, self.max_actors, self.num_cpus, self.num_gpus, self.memory_mb) < 0:
            raise ValueError(f"ingest.pools: a number below zero in {self}")
        if self.max_actors and self.min_actors > self.max_actors:
            raise ValueError(
                f"ingest.pools: min_actors {self.min_actors} is above max_actors {self.max_actors}"
            )
        if self.num_gpus > 1 and self.num_gpus % 1:
            raise ValueError(
                f"ingest.pools: num_gpus {self.num_gpus:g} is neither a fraction of one GPU nor whole ones"
            )


@dataclass(frozen=True)
class Pools:
    """The two pools of the graph. Speech may grow to half of the CPUs; decoding has what speech leaves."""

    speech: Pool = field(default_factory=lambda: Pool(num_gpus=0.5))
    """Actors that transcribe, each with the speech model in memory; none where every medium is captioned."""
    decode: Pool = field(default_factory=Pool)
    """Actors that probe, cut, decode and write."""


@dataclass(frozen=True)
class Ingest:
    """From media to clips."""

    narrated: Sentences | RandomWindows | FixedWindows = field(default_factory=Sentences)
    """How narrated videos are cut."""
    captioned: Whole | FixedWindows = field(default_factory=Whole)
    """How captioned media are cut; every clip has all captions of its medium."""
    filters: Filters = field(default_factory=Filters)
    """What is set aside although it can be read; the defaults keep all but a medium that comes twice."""
    frames: Frames = field(default_factory=Frames)
    """Candidate frames at rest: decoded once, drawn from at every epoch."""
    speech: Speech = field(default_factory=Speech)
    """Transcription of media that have sound and no transcript."""
    rows_per_shard: int = 64
    """Rows of a list file that make one input shard."""
    row_group: int = 16
    """Clips per row group of the Parquet shards; sized for streaming."""
    pools: Pools = field(default_factory=Pools)
    """Parallel workers of each stage and what they take of the cluster."""

    def __post_init__(self) -> None:
        if self.filters.min_motion and self.frames.store == "reference":
            raise ValueError(
                "filters.min_motion compares the stored frames of a clip, and frames.store 'reference' keeps none"
            )

    def digest(self, narrated: bool) -> str:
        """Names what decides the content of a stream's shards; speed, limits and places are left out."""
        return hashlib.blake2b(json.dumps(self._content(narrated)).encode(), digest_size=8).hexdigest()

    def _content(self, narrated: bool) -> dict[str, Any]:
        content = asdict(self)
        speech, frames = content.pop("speech"), content.pop("frames")
        for name in ("pools", "narrated", "captioned"):
            del content[name]
        for name in ("deadline_s", "memory_mb", "decoder"):
            del frames[name]
        for name in ("batch_windows", "deadline_s"):
            del speech[name]
        speech["model"] = PurePosixPath(speech["model"]).name
        cut = self.narrated if narrated else self.captioned
        how = {"cut": type(cut).__name__, **asdict(cut)}
        return {**content, **how, "frames": frames, "speech": speech if narrated else None}
