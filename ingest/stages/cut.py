"""Media to the windows that become clips."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingest.records import Clip, Media, Reject, Utterance, stable_uid


@dataclass(frozen=True)
class Cut:
    """A narrated video becomes one clip for every K consecutive utterances; anything captioned is one clip."""

    transcripts: int
    max_gap_s: float
    narrated: bool

    def __call__(self, media: Media) -> list[Clip] | Reject:
        """The clips of a medium, without frames."""
        if not self.narrated:
            return [_clip(media, 0.0, media.duration_s or 0.0)]
        length_s = media.duration_s or float("inf")
        seen = [
            item for item in media.utterances or () if item.start_s < length_s
        ]  # sound may outlast pictures
        clips = [
            _clip(media, group[0].start_s, min(group[-1].end_s, length_s), group)
            for group in self._groups(seen)
        ]
        if not clips:
            found = len(media.utterances or ())
            detail = f"{found} utterances, {self.transcripts} in a row are needed"
            return Reject(media.uid, "cut", "few_utterances", detail, media.source, media.uri)
        return clips

    def _groups(self, utterances: Sequence[Utterance]) -> Iterator[tuple[Utterance, ...]]:
        """K utterances with no silence longer than `max_gap_s` between them; each belongs to one group at most."""
        group: list[Utterance] = []
        for utterance in utterances:
            if group and utterance.start_s - group[-1].end_s > self.max_gap_s:
                group = []
            group.append(utterance)
            if len(group) == self.transcripts:
                yield tuple(group)
                group = []


def _clip(media: Media, start_s: float, end_s: float, transcripts: tuple[Utterance, ...] = ()) -> Clip:
    window = (round(start_s * 1000), round(end_s * 1000))
    return Clip(
        uid=stable_uid(media.uid, *window),
        media_uid=media.uid,
        source=media.source,
        kind=media.kind,
        uri=media.uri,
        start_s=start_s,
        end_s=end_s,
        captions=media.captions,
        label=media.label,
        transcripts=transcripts,
    )
