import pytest
import torch

from trainers.evaluation.metrics import classification_metrics


def test_with_one_class_a_clip_both_shares_are_the_accuracy_of_the_best_prompt() -> None:
    similarity = torch.tensor([[0.9, 0.1, 0.2], [0.9, 0.1, 0.2]])
    own = torch.tensor([[True, False, False], [False, True, False]])
    assert classification_metrics(similarity, own) == {"top1": 50.0, "found": 50.0}


def test_of_as_many_prompts_as_a_clip_has_classes_those_that_are_its_own_are_found() -> None:
    similarity = torch.tensor([[0.9, 0.5, 0.4, 0.1]])
    own = torch.tensor([[True, False, True, False]])  # its two best prompts are 0 and 1
    assert classification_metrics(similarity, own) == {"top1": 100.0, "found": 50.0}


def test_a_clip_without_a_class_is_refused() -> None:
    with pytest.raises(ValueError, match="has no class"):
        classification_metrics(torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool))
