import pytest

from tests.trainers.tiny import tiny_model
from trainers.loop.freezing import freeze


def test_the_lower_text_blocks_are_frozen_and_counted() -> None:
    model = tiny_model()
    counts = freeze(model, frozen_below={"text": 1})
    assert counts["text"].frozen == sum(p.numel() for p in model.text.blocks[0].parameters())
    assert counts["video"].frozen == 0
    assert freeze(tiny_model())["text"].frozen == 0


def test_a_pattern_freezes_what_it_matches() -> None:
    model = tiny_model()
    freeze(model, freeze=["text.blocks.[0-1].mlp.*"])
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {
        f"text.blocks.{i}.mlp.{layer}.{kind}"
        for i in range(2)
        for layer in ("c_fc", "c_proj")
        for kind in ("weight", "bias")
    }


def test_a_pattern_that_matches_nothing_is_an_error_with_a_near_match() -> None:
    with pytest.raises(
        ValueError, match=r"freeze: 'text.block.0.ln_1.weight' matches no parameter; near: 'text.blocks.0"
    ):
        freeze(tiny_model(), freeze=["text.block.0.ln_1.weight"])


def test_more_frozen_blocks_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"frozen_below\.text is 3, but the tower has 2 blocks"):
        freeze(tiny_model(), frozen_below={"text": 3})
