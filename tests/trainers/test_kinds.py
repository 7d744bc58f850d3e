"""Kinds of a user's own: a recipe file registers them, and they bring their registration along."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from ray import cloudpickle

from pipeline.recipes.resolve import kind_from
from trainers.kinds import TABLE, Tagged, register
from trainers.objectives.settings import Sorting
from trainers.recipe import Stage
from trainers.recipe_json import from_values
from trainers.system_settings import ObjectiveSettings

RECIPE = """
from dataclasses import dataclass
from typing import Literal

from trainers.kinds import register
from trainers.system_settings import ObjectiveSettings


@dataclass(frozen=True)
class Margin(ObjectiveSettings):
    kind: Literal["margin"] = "margin"
    least: float = 0.2


def built(settings, model):
    return f"margin of {settings.least}"


register(Margin, built)
"""
ELSEWHERE = """
import pickle, sys
from trainers.kinds import TABLE
assert "margin" not in TABLE["objective"]
arrived = pickle.load(open(sys.argv[1], "rb"))
assert TABLE["objective"]["margin"].settings is type(arrived)
print(arrived, arrived.built()(arrived, None))
"""


@pytest.fixture
def margin(tmp_path: Path) -> Iterator[type[Tagged]]:
    """An objective's settings that no module has."""
    (tmp_path / "own.py").write_text(RECIPE)
    yield kind_from(str(tmp_path / "own.py"), "Margin")
    del TABLE["objective"]["margin"]


def test_a_kind_of_a_recipe_file_is_read_by_its_kind_alone(margin: type[Tagged]) -> None:
    setting = margin(least=0.5)
    stage = Stage("one", streams=(), objectives=(setting,), steps=1)
    assert from_values(Stage, json.loads(json.dumps(asdict(stage)))) == stage
    assert setting.built()(setting, None) == "margin of 0.5"


def test_it_is_known_wherever_it_is_sent(margin: type[Tagged], tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(cloudpickle.dumps(margin(least=0.5)))
    words = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "sent")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("Margin(kind='margin', least=0.5) margin of 0.5", 0), (
        done.stderr
    )


def test_a_kind_of_ours_is_not_replaced() -> None:
    class Mine(Sorting):
        """Of the same kind."""

    with pytest.raises(
        ValueError, match="Mine: the objective kind 'sorting' is Reelscript's own; take another"
    ):
        register(Mine)
    assert ObjectiveSettings.of_kind("sorting") is Sorting


def test_a_kind_that_nobody_registered_is_named_with_a_near_one() -> None:
    with pytest.raises(
        ValueError, match=r"no objective of kind 'contrastiv'; did you mean 'contrastive'\? \(one"
    ):
        ObjectiveSettings.of_kind("contrastiv")
    with pytest.raises(ValueError, match="no objective of kind 'margin'; there are contrastive, sorting"):
        ObjectiveSettings.of_kind("margin")
