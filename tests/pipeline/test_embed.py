"""The embedding job on real Ray: what it gives is what the model gives, clip by clip."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from infra.errors import UserError
from ingest.records import Clip, to_table
from ingest.streams import read_stored, stored_clips
from pipeline.embed import Embeddings, Encoder, Fresh, embed, embed_here, even_slices, gather
from tests.ingest.clips import synthetic_clip, write_stream
from tests.pipeline.models import TINY, TINY_PIXELS

WEIGHTS = Fresh(TINY)
NUM_CLIPS = 7
TEXTS = {
    synthetic_clip(number).media_uid: {"A": [f"one {number}", f"two {number}"], "B": [f"whole {number}"]}
    for number in range(NUM_CLIPS)
}


@pytest.fixture(scope="module")
def embedded(ray_local: None, tmp_path_factory: pytest.TempPathFactory) -> Embeddings:
    store = str(tmp_path_factory.mktemp("store"))
    for stream, count in (("test", 9), ("other", 2)):
        write_stream(store, stream, count, per_shard=4)
    streams = {name: stored_clips(store, name) for name in ("test", "other")}
    models = {"one": WEIGHTS, "two": Fresh(TINY, seed=1)}
    found = embed(streams, models, TEXTS, TINY_PIXELS, num_frames=4, batch_size=3)
    assert len(found["two"]["other"].uids) == 2
    assert not np.allclose(found["one"]["test"].video, found["two"]["test"].video)
    return found["one"]["test"]


def _encoder() -> Encoder:
    return Encoder({"one": WEIGHTS}, TEXTS, TINY_PIXELS, num_frames=4, batch_size=8)


def _encoded(*numbers: int) -> dict[str, np.ndarray]:
    """Clips encoded together, in this process."""
    rows = to_table(Clip, [synthetic_clip(number) for number in numbers])
    return next(_encoder()(rows.append_column("stream", pa.array(["test"] * rows.num_rows))))


def test_every_clip_with_texts_is_embedded_once_and_those_without_are_left_out(embedded: Embeddings) -> None:
    assert sorted(embedded.media_uids) == sorted(TEXTS)
    assert embedded.video.shape == (NUM_CLIPS, TINY.embedding)
    assert embedded.texts.keys() == {"A", "B"}


def test_a_clip_gets_the_same_features_alone_as_in_the_job(embedded: Embeddings) -> None:
    place = embedded.uids.index(synthetic_clip(2).uid)
    alone = _encoded(2)
    np.testing.assert_allclose(embedded.video[place], alone["one/video"][0], atol=1e-5)
    np.testing.assert_allclose(embedded.sorting[place], alone["one/sorting"][0], atol=1e-5)


def test_clips_embedded_in_one_process_have_the_features_of_the_job(
    embedded: Embeddings, tmp_path: Path
) -> None:
    write_stream(str(tmp_path), "test", 9, per_shard=4)
    encoder = Encoder({"given": WEIGHTS}, TEXTS, TINY_PIXELS, num_frames=4, batch_size=3, threads=1)
    here = embed_here(encoder, "test", read_stored(str(tmp_path), "test"))
    assert here.uids == embedded.uids
    np.testing.assert_allclose(here.video, embedded.video, atol=1e-5)
    np.testing.assert_allclose(here.sorting, embedded.sorting, atol=1e-5)


def test_a_register_of_sentences_is_the_mean_of_their_unnormalised_features(embedded: Embeddings) -> None:
    place = embedded.uids.index(synthetic_clip(5).uid)
    model = WEIGHTS().eval()
    with torch.inference_mode():
        features = model.encode_text(torch.from_numpy(_encoder().tokenizer(["one 5", "two 5"])))
    np.testing.assert_allclose(embedded.texts["A"][place], features.mean(dim=0), atol=1e-5)


def test_the_control_shows_another_clips_video_and_a_lone_clip_has_none() -> None:
    pair = _encoded(0, 1)
    assert pair["one/controlled"].all()
    assert not np.allclose(pair["one/control"], pair["one/sorting"])
    assert not _encoded(0)["one/controlled"].any()


def test_clips_of_two_streams_in_one_block_keep_to_their_own() -> None:
    rows = to_table(Clip, [synthetic_clip(number) for number in range(4)])
    mixed = rows.append_column("stream", pa.array(["test", "twins", "test", "twins"]))
    parts = list(_encoder()(mixed))
    assert [part["stream"].tolist() for part in parts] == [["test"] * 2, ["twins"] * 2]
    np.testing.assert_array_equal(parts[0]["one/video"], _encoded(0, 2)["one/video"])


def test_no_slice_is_a_single_row_where_rows_can_be_shared_out() -> None:
    rows = pa.table({"x": list(range(26))})
    assert [part.num_rows for part in even_slices(rows, 25)] == [13, 13]
    assert even_slices(rows.slice(0, 0), 25) == []


def test_a_diverged_model_is_refused_and_not_scored() -> None:
    block = {**_encoded(0), "one/video": np.full((1, TINY.embedding), np.nan, np.float32)}
    with pytest.raises(UserError, match="not finite"):
        gather([block], "one", "test")


def test_a_stream_without_texts_is_said() -> None:
    with pytest.raises(UserError, match="no clip of the stream 'val'"):
        gather([_encoded(0)], "one", "val")
