"""What lies between time tokens."""

from whisper.tokenizer import get_tokenizer

from ingest.speech.time_tokens import timed_tokens


def test_time_tokens_close_and_open_texts() -> None:
    tokenizer = get_tokenizer(multilingual=False)
    one, two = tokenizer.encode(" One."), tokenizer.encode(" Two.")

    def at(seconds: float) -> int:
        return int(tokenizer.timestamp_begin + round(seconds / 0.02))

    said = timed_tokens([at(0.5), *one, at(1.5), at(2.0), *two, tokenizer.eot], tokenizer, length_s=3.0)
    assert [(item.text, item.start_s, item.end_s, item.closed) for item in said] == [
        ("One.", 0.5, 1.5, True),
        ("Two.", 2.0, 3.0, False),
    ]
    assert said[0].tokens == tuple(one)
    (late,) = timed_tokens([at(0.5), *one, at(9.0)], tokenizer, length_s=3.0)
    assert late.end_s == 3.0
