"""What names the content of a stream's shards."""

from dataclasses import replace

import pytest

from ingest.settings import (
    Filters,
    FixedWindows,
    Frames,
    Ingest,
    Pool,
    Pools,
    RandomWindows,
    Sentences,
    Speech,
)

BASE = Ingest()


@pytest.mark.parametrize(
    ("changed", "narrated", "captioned"),
    [
        (replace(BASE, narrated=RandomWindows()), True, False),
        (replace(BASE, narrated=Sentences(min_transcript_s=3.0)), True, False),
        (replace(BASE, narrated=FixedWindows(window_s=8.0)), True, False),
        (replace(BASE, captioned=FixedWindows()), False, True),
        (replace(BASE, filters=Filters(min_short_side=100)), True, True),
        (replace(BASE, speech=Speech(model="tiny.en")), True, False),
        (replace(BASE, frames=Frames(deadline_s=1.0), pools=Pools(decode=Pool(max_actors=3))), False, False),
    ],
)
def test_a_stream_is_made_anew_by_what_changes_its_clips_alone(
    changed: Ingest, narrated: bool, captioned: bool
) -> None:
    assert (changed.digest(narrated=True) != BASE.digest(narrated=True)) == narrated
    assert (changed.digest(narrated=False) != BASE.digest(narrated=False)) == captioned


def test_ways_with_the_same_fields_are_told_apart() -> None:
    one, two = Ingest(narrated=FixedWindows()), Ingest(narrated=Sentences())
    assert one.digest(narrated=True) != two.digest(narrated=True)
