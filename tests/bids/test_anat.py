"""Sidecars of maps, as people and programs leave them."""

import json

import pytest

from bids_app.bids.anat import read_quality

GOOD = {
    "TIV": 1400.5,
    "JacobianRange": [0.4, 2],
    "QualityVerdict": "look",
    "QualityReasons": ["why"],
    "Other": {"a": 1},
}


@pytest.mark.parametrize(
    ("changed", "gone"),
    [
        ({"TIV": "1432 ml"}, {"TIV"}),
        ({"TIV": [1]}, {"TIV"}),
        ({"TIV": True}, {"TIV"}),
        ({"JacobianRange": [1]}, {"JacobianRange"}),
        ({"JacobianRange": "0.4-2"}, {"JacobianRange"}),
        ({"JacobianRange": [None, 2]}, {"JacobianRange"}),
        ({"QualityVerdict": "excellent"}, {"QualityVerdict", "QualityReasons"}),
        ({"QualityVerdict": {}}, {"QualityVerdict", "QualityReasons"}),
        ({"QualityLimits": 3}, set()),
    ],
)
def test_what_means_nothing_is_not_taken_over(tmp_path, changed, gone):
    (tmp_path / "map.json").write_text(json.dumps({**GOOD, **changed}))
    found = read_quality(tmp_path / "map.nii.gz")
    assert found == {key: value for key, value in GOOD.items() if key not in gone}


@pytest.mark.parametrize(("reasons", "kept"), [("why", []), ([1, None], ["1", "None"]), (None, [])])
def test_reasons_are_a_list_of_texts(tmp_path, reasons, kept):
    (tmp_path / "map.json").write_text(json.dumps({**GOOD, "QualityReasons": reasons}))
    assert read_quality(tmp_path / "map.nii.gz")["QualityReasons"] == kept
