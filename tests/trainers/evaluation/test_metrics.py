import pytest
import torch

from trainers.evaluation.metrics import (
    rank_metrics,
    retrieval_metrics,
    sorting_accuracy,
    t2v_ranks,
    twin_accuracy,
    v2t_ranks,
)


def test_equal_values_count_in_a_text_querys_favour_and_are_averaged_for_a_video() -> None:
    blind = torch.zeros(3, 3)
    assert t2v_ranks(blind).tolist() == [0, 0, 0]
    assert v2t_ranks(blind).tolist() == [1, 1, 1]  # places 0, 1, 2


def test_a_video_takes_the_best_rank_of_its_captions() -> None:
    similarity = torch.tensor([[0.1, 0.0], [0.9, 0.0], [0.5, 0.2], [0.6, 0.3]])  # captions 0, 1 of video 0
    assert t2v_ranks(similarity).tolist() == [0, 0, 1, 1]
    assert v2t_ranks(similarity).tolist() == [0, 0]


def test_ranks_become_recalls_median_and_mean() -> None:
    metrics = rank_metrics(torch.tensor([0.0, 0.0, 4.0, 20.0]))
    recalls = {"R1": 50, "R5": 75, "R10": 75, "R50": 100}
    mean = {"MedR": 3, "MeanR": 7, "geometric_mean_R1-R5-R10": (50 * 75 * 75) ** (1 / 3)}
    assert metrics == pytest.approx(recalls | mean)


def test_texts_that_do_not_divide_among_videos_are_refused() -> None:
    with pytest.raises(ValueError, match="5 texts do not divide among 2 videos"):
        retrieval_metrics(torch.zeros(5, 2))


def test_one_clip_in_order_and_one_with_two_places_swapped() -> None:
    swapped = torch.eye(4)[[1, 0, 2, 3]]
    assert sorting_accuracy(torch.stack([torch.eye(4), swapped])) == {"position": 75, "all_right": 50}


def test_features_that_know_nothing_of_order_tell_half_of_the_twins() -> None:
    texts = torch.randn(6, 2, 4)
    assert twin_accuracy(torch.ones(6, 2, 4), texts) == 50
    assert twin_accuracy(texts, texts) == 100
    assert twin_accuracy(texts.flip(1), texts) == 0
