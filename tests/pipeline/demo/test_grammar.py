"""Facts about the demo's three wordings."""

from itertools import chain

from pipeline.demo.grammar import (
    ALL_EVENTS,
    ALL_THINGS,
    ORDER_WORDS,
    Event,
    Thing,
    content_words,
    evaluation_caption,
    narration,
    ordered_caption,
    still_caption,
)

RISING_DISC = Event(Thing("red", "circle"), "up")
TURNING_BOX = Event(Thing("blue", "square"), "spin")


def words(texts):
    return frozenset(chain.from_iterable(content_words(text) for text in texts))


def video_texts():
    narrations = [narration(event) for event in ALL_EVENTS]
    captions = [ordered_caption([event] * len(ORDER_WORDS)) for event in ALL_EVENTS]
    return narrations, captions


def test_six_colours_four_shapes_and_six_motions_make_144_sentences():
    narrations, _ = video_texts()
    assert len(set(narrations)) == 144


def test_two_events_read_as_expected_in_each_register():
    story = [RISING_DISC, TURNING_BOX]
    assert narration(RISING_DISC) == "A red circle floats upward."
    assert ordered_caption(story) == "first a red circle rises, then a blue square rotates"
    assert evaluation_caption([e.thing for e in story]) == "a crimson disc and an azure box"


def test_the_narration_has_no_word_of_order():
    narrations, _ = video_texts()
    assert not words(narrations) & set(ORDER_WORDS)


def test_the_evaluation_wording_shares_no_content_word_with_any_video_text():
    narrations, captions = video_texts()
    evaluation = words(evaluation_caption([thing]) for thing in ALL_THINGS)
    assert not evaluation & words([*narrations, *captions])


def test_every_word_of_the_evaluation_wording_occurs_in_still_captions():
    evaluation = words(evaluation_caption([thing]) for thing in ALL_THINGS)
    assert evaluation <= words(still_caption([thing], "D") for thing in ALL_THINGS)


def test_stills_say_nothing_of_motion():
    stills = words(still_caption([thing], register) for thing in ALL_THINGS for register in "ABD")
    motions = words(narration(e) for e in ALL_EVENTS) - words(still_caption([t], "A") for t in ALL_THINGS)
    assert not stills & motions
