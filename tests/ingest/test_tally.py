"""What actors tell of their shards, added up by stage."""

from dataclasses import replace

from ingest.records import Media, Reject, Utterance
from ingest.tally import ShardProgress, StageStands, Tally
from tests.ingest.clips import synthetic_clip

MEDIA = Media("m", "t", "m.mp4", "video", "m.mp4", duration_s=12.0)


def test_a_step_counts_a_medium_and_what_became_of_it() -> None:
    step = ShardProgress("decode", "s").plus(
        [synthetic_clip(0), synthetic_clip(1), Reject("m", "cut", "no_words", "")]
    )
    assert (step.num_media, step.num_clips, step.num_rejects) == (1, 2, 1)


def test_sound_counts_where_a_speech_model_heard_it() -> None:
    heard = replace(MEDIA, utterances=(Utterance("One.", 0, 1, origin="whisper/tiny"),))
    given = replace(MEDIA, utterances=(Utterance("One.", 0, 1),))
    assert ShardProgress("speech", "s").plus([heard]).plus([given]).plus([MEDIA]).sound_s == 12.0


def test_stages_tell_their_queue_and_the_rates_of_the_last_minute() -> None:
    times = iter([0.0, 10.0, 65.0])
    tally = Tally({"decode": 5}, clock=lambda: next(times))
    first = ShardProgress("decode", "a", num_media=4, num_clips=2)
    tally.add(first)
    assert tally.stands() == [StageStands("decode", at_work=1, waiting=4, num_media=4, num_clips=2)]
    tally.add(replace(first, num_media=24, num_clips=12, num_rejects=3, finished=True))
    tally.add(ShardProgress("decode", "b"))
    (stands,) = tally.stands()
    assert (stands.at_work, stands.waiting, stands.num_rejects) == (1, 3, 3)
    assert (stands.media_per_s, stands.clips_per_s) == (2.0, 1.0)
    assert tally.stands()[0].media_per_s == 0.0


def test_a_shard_that_is_begun_again_counts_anew() -> None:
    tally = Tally({"decode": 1})
    tally.add(ShardProgress("decode", "a", num_media=9))
    tally.add(ShardProgress("decode", "a", num_media=1))
    assert tally.stands()[0].num_media == 1
