"""The five top-level names are ours alone in this environment."""

from importlib.metadata import packages_distributions

import pytest


@pytest.mark.parametrize("name", ["pipeline", "tune", "trainers", "ingest", "infra"])
def test_no_other_distribution_ships_one_of_our_names(name: str) -> None:
    # nobody, where the tree is used without being installed
    assert set(packages_distributions().get(name, [])) <= {"reelscript"}
