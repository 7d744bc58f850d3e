"""The demo's narrator: espeak-ng, called in-process from the library in the espeakng-loader wheel."""

import atexit
import ctypes
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import espeakng_loader
import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: samples go to the callback before espeak_Synth returns
_WORD_EVENT = 1
_UTF8 = 1
_RATE, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER
_DONT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: report a failure instead of ending the process
_HALF_WIDTH = 16  # input samples on either side of an output sample
_LONGEST_DATA_PATH = (
    140  # espeak-ng keeps the path in a fixed buffer (160 bytes) and appends file names to it
)


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True)
class Speaker:
    """How a sentence is spoken: an espeak-ng voice, words per minute, pitch and its range (0 to 100)."""

    voice: str = "en-us+Denis"
    rate: int = 180
    pitch: int = 50
    pitch_range: int = 50


@dataclass(frozen=True)
class SpokenWord:
    """A word and the second at which it begins."""

    text: str
    start_s: float


@dataclass(frozen=True)
class Speech:
    """Synthesised speech: mono float32 samples in [-1, 1] at 16 kHz, and its words in order."""

    samples: NDArray[np.float32]
    words: tuple[SpokenWord, ...]

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE


# Voices without flutter: espeak-ng keeps the phase of the flutter from one call to the next, so that the
# samples of other voices depend on everything said before.
NARRATORS = (Speaker("en-us+Denis"), Speaker("en-us+miguel"), Speaker("en-us+shelby"))


def speak(text: str, speaker: Speaker = NARRATORS[0]) -> Speech:
    """Say an ASCII text. Each of `NARRATORS`, at any rate and pitch, gives the same samples on every call."""
    library, native_rate = _espeak()
    _choose(library, speaker)
    pieces: list[NDArray[np.int16]] = []
    words: list[SpokenWord] = []

    def collect(wav: "ctypes._Pointer[ctypes.c_short]", count: int, events: "ctypes._Pointer[_Event]") -> int:
        if wav and count > 0:
            pieces.append(np.ctypeslib.as_array(wav, shape=(count,)).astype(np.int16))
        words.extend(_words_in(events, text))
        return 0

    callback = _Callback(collect)
    library.espeak_SetSynthCallback(callback)
    encoded = text.encode("ascii")
    if library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8, None, None):
        raise RuntimeError(f"espeak-ng could not say {text!r}")
    native = np.concatenate(pieces).astype(np.float32) / np.float32(32768)
    return Speech(_resample(native, native_rate), tuple(words))


def _words_in(events: "ctypes._Pointer[_Event]", text: str) -> Iterator[SpokenWord]:
    index = 0
    while events[index].type:  # the list ends with type 0
        event = events[index]
        if event.type == _WORD_EVENT:
            begin = event.text_position - 1  # counted from 1
            yield SpokenWord(text[begin : begin + event.length], event.audio_position / 1000)
        index += 1


def _choose(library: ctypes.CDLL, speaker: Speaker) -> None:
    if library.espeak_SetVoiceByName(speaker.voice.encode("ascii")):
        raise ValueError(f"voice: espeak-ng has no voice {speaker.voice!r}")
    for parameter, value in ((_RATE, speaker.rate), (_PITCH, speaker.pitch), (_RANGE, speaker.pitch_range)):
        library.espeak_SetParameter(parameter, value, 0)


@cache
def _espeak() -> tuple[ctypes.CDLL, int]:
    """The initialised library and its sample rate. It holds global state, so one per process."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    data_path = _short_data_path(Path(espeakng_loader.get_data_path()))
    native_rate = library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data_path), _DONT_EXIT)
    if native_rate <= 0:
        raise RuntimeError(
            f"espeak-ng did not start with the data of the espeakng-loader wheel ({data_path})"
        )
    return library, int(native_rate)


def _short_data_path(data: Path) -> Path:
    """`data`, or a link to it from the temporary folder when its path is too long for espeak-ng's buffer."""
    if len(os.fsencode(data)) <= _LONGEST_DATA_PATH:
        return data
    folder = tempfile.mkdtemp(prefix="espeak")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # files behind it are opened all along
    link = Path(folder) / "d"
    link.symlink_to(data, target_is_directory=True)
    return link


def _resample(native: NDArray[np.float32], native_rate: int) -> NDArray[np.float32]:
    """Windowed-sinc resampling to 16 kHz."""
    taps = _resampling_taps(native_rate)  # (phases, taps)
    index = np.arange(len(native) * SAMPLE_RATE // native_rate)
    before = index * native_rate // SAMPLE_RATE  # the input sample at or before each output sample
    padded = np.pad(native, _HALF_WIDTH)
    neighbours = np.lib.stride_tricks.sliding_window_view(padded, 2 * _HALF_WIDTH)[before + 1]
    return np.asarray(np.einsum("nt,nt->n", neighbours, taps[index % len(taps)]), np.float32)


@cache
def _resampling_taps(native_rate: int) -> NDArray[np.float32]:
    """Weights of the neighbouring input samples, a row for each phase of the repeating pattern."""
    num_phases = SAMPLE_RATE // math.gcd(SAMPLE_RATE, native_rate)
    fraction = np.arange(num_phases) * (native_rate / SAMPLE_RATE) % 1.0
    offsets = np.arange(1 - _HALF_WIDTH, _HALF_WIDTH + 1) - fraction[:, None]
    cutoff = 0.95 * min(1.0, SAMPLE_RATE / native_rate)
    window = 0.5 + 0.5 * np.cos(np.pi * offsets / (_HALF_WIDTH + 1))
    return (cutoff * np.sinc(cutoff * offsets) * window).astype(np.float32)
