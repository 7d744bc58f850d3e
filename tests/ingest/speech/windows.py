"""Windows of the demo's narration, which its speech model knows."""

from pathlib import Path

from ingest.speech.engine import SpeechWindow
from pipeline.demo.grammar import ALL_EVENTS, narration
from pipeline.demo.speech_model import write_checkpoint
from tests.ingest.media_files import spoken


def sentences(first: int, count: int) -> list[str]:
    """Consecutive sentences of a fixed walk over the demo's events."""
    return [narration(ALL_EVENTS[(first + n) * 37 % len(ALL_EVENTS)]) for n in range(count)]


def narrated_window(first: int, count: int, start_s: float = 0.0) -> SpeechWindow:
    """A window that says these sentences."""
    return SpeechWindow(f"{first}+{count}", start_s, spoken(*sentences(first, count), lead_s=0.3, gap_s=0.6))


def demo_checkpoint(folder: Path) -> Path:
    """The demo's speech model as a checkpoint."""
    path = folder / "demo.pt"
    write_checkpoint(path)
    return path
