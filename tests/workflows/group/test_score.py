"""A study of a score alone: nobody belongs to a group, and nothing on the page says so."""

import json
import re

import pandas as pd
import pytest

from bids_app.cli import main
from bids_app.schema.names import is_score
from bids_app.simulate.cli import main as simulate


@pytest.mark.parametrize(
    ("values", "score"),
    [
        ([23.5, 40.1, 31.0, 28.2, 55.0, 61.3, 70.2], True),
        ([*range(7), None], True),
        ([str(n) for n in range(7)], True),
        ([0, 0.5, 1, 2, 3] * 9, False),  # ratings
        (list("abcdefgh"), False),
        ([None] * 9, False),
    ],
)
def test_what_a_score_is(values, score):
    assert is_score(values) is score
    assert is_score(pd.Series(values)) is score


@pytest.fixture(scope="module")
def aged(tmp_path_factory):
    """Twelve maps, and their age as the question."""
    root = tmp_path_factory.mktemp("score")
    options = "--maps-only --n-participants 12 --resolution 4 --seed 2 --quiet"
    assert simulate([str(root / "maps"), *options.split()]) == 0
    options = "--group-column age --covariates sex tiv --latent-dim 3 --folds 3 --permutations 60 --voxelwise none"
    command = [str(root / "maps"), str(root / "out"), "group", *options.split(), "--epochs", "1"]
    assert main([*command, "-w", str(root / "work")]) == 0
    return root / "out"


def test_a_score_is_predicted_and_makes_no_groups(aged):
    assert "age" in set(pd.read_csv(aged / "group" / "verdicts.tsv", sep="\t")["contrast"])
    assert json.loads((aged / "group" / "summary.json").read_text())["groups"] == {}
    assert [path.name for path in sorted((aged / "group").glob("error_*.nii.gz"))] == ["error_all.nii.gz"]


def test_the_page_lists_no_ages_as_groups(aged):
    page = (aged / "group.html").read_text()
    assert re.search(r"12 scans of 12 participants\.", page)
    assert "could not be drawn" not in page
    assert "the direction in latent space that goes with age" in page  # and not what separates groups
    assert "held-out position, SD within groups" not in page
