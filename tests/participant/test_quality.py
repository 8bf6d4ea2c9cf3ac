"""The quality gate: good numbers pass, every kind of damage is named."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from bids_app.participant.modulate import Modulated
from bids_app.participant.quality import RULES, judge, measure
from bids_app.participant.tissue import segment
from bids_app.space.templates import get_template

GOOD = {
    "TIV": 1500.0, "GMFraction": 0.48, "WMFraction": 0.36, "CSFFraction": 0.15, "MaskOverlap": 0.965,
    "GMVolumeConservation": 0.999, "FoldedShare": 0.0, "PriorCorrelation": 0.75, "GreyWhiteContrast": 4.0,
    "SurfaceBrightness": 0.7, "CutShare": 0.02, "MissingShare": 0.004, "GMIntensityAgreement": 1.01,
    "RimOutsideShare": 0.12, "ImageQualityMark": 2.2,
}  # fmt: skip


def test_good_numbers_pass():
    assert judge(GOOD) == ("pass", [])


@pytest.mark.parametrize(
    ("change", "verdict", "word"),
    [
        ({"TIV": 2100}, "look", "intracranial"),
        ({"TIV": 300}, "fail", "intracranial"),
        ({"TIV": 3400}, "fail", "intracranial"),
        ({"GMIntensityAgreement": 1.15}, "look", "intensities"),
        ({"GMIntensityAgreement": 0.8}, "look", "intensities"),
        ({"RimOutsideShare": 0.4}, "look", "too large"),
        ({"ImageQualityMark": 6.0}, "look", "mark"),
        ({"PriorCorrelation": 0.2}, "fail", "template"),
        ({"GMVolumeConservation": 0.97}, "fail", "modulation"),
        ({"GMVolumeConservation": 0.99}, "look", "modulation"),
        ({"MaskOverlap": 0.8}, "fail", "overlap"),
        ({"FoldedShare": 0.05}, "fail", "folded"),
        ({"GreyWhiteContrast": float("nan")}, "fail", "could not be measured"),
        ({"CutShare": 0.7}, "fail", "rim"),
        ({"MissingShare": 0.04}, "look", "missing"),
        ({"MissingShare": 0.1}, "fail", "missing"),
    ],
)
def test_each_kind_of_damage_is_named(change, verdict, word):
    found, reasons = judge({**GOOD, **change})
    assert found == verdict
    assert word in reasons[0]


def test_failures_come_first():
    _, reasons = judge({**GOOD, "TIV": 2100, "MaskOverlap": 0.5})
    assert "overlap" in reasons[0]
    assert len(reasons) == 2


NORMS = {
    *("GMFraction", "WMFraction", "CSFFraction"),
    *("GMIntensityAgreement", "RimOutsideShare", "ImageQualityMark", "CutArea", "SidesUncertain", "VoxelSizesDiffer"),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule[0])
def test_technical_rules_can_fail_and_norms_cannot(rule):
    key, low, high, fail_low, fail_high, _ = rule
    assert fail_low <= low <= high <= fail_high
    for absurd in (-1e9, 1e9):
        verdict, reasons = judge({**GOOD, key: absurd})
        if key in NORMS:
            assert verdict == "look"
        elif not fail_low <= absurd <= fail_high:
            assert verdict == "fail"
        assert len(reasons) <= 1
    assert (key in NORMS) == (not np.isfinite([fail_low, fail_high]).any())


def test_atrophy_is_not_left_out():
    """A brain that has lost half of its grey and white matter to fluid, in a small head."""
    verdict, reasons = judge({**GOOD, "CSFFraction": 0.6, "GMFraction": 0.24, "WMFraction": 0.16, "TIV": 1000})
    assert verdict == "look"
    assert len(reasons) == 4


@pytest.fixture(scope="module")
def ideal():
    """The template's own brain as a scan that lies on the template already."""
    template = get_template(resolution=3.0)
    csf, gm, wm = (np.asarray(getattr(template, key).dataobj) for key in ("csf", "gm", "wm"))
    rng = np.random.default_rng(0)
    brain = 300 * csf + 700 * gm + 1000 * wm
    inside = np.asarray(template.mask.dataobj) > 0
    distance = ndimage.distance_transform_edt(~inside, sampling=3.0)
    head = brain + ((distance > 6) & (distance < 12)) * 1500.0
    return template, head + rng.normal(0, 20, head.shape), inside


def numbers(ideal, mask):
    from bids_app.participant._ants import image_like

    template, head, _ = ideal
    scan = image_like(head, template.t1w)
    mask_image = image_like(mask, template.t1w, np.uint8)
    tissues = segment(scan, mask_image, template.gm, template.wm, template.csf, template.deep)
    ones = image_like(np.ones(mask.shape), template.t1w)
    return measure(scan, mask_image, ones, tissues, Modulated(tissues.gm, ones), mask_image, template)


def test_a_right_mask_passes_with_right_volumes(ideal):
    metrics = numbers(ideal, ideal[2])
    assert judge({**metrics, "ImageQualityMark": 1.0}) == ("pass", [])
    assert "mark" in judge(metrics)[1][0]  # voxels of 3 mm
    assert metrics["TIV"] == pytest.approx(ideal[2].sum() * 0.027, rel=1e-4)
    assert metrics["GMVolume"] + metrics["WMVolume"] + metrics["CSFVolume"] == pytest.approx(metrics["TIV"], rel=1e-3)
    assert metrics["GMVolumeConservation"] == pytest.approx(1)
    assert metrics["MaskOverlap"] == 1
    assert metrics["BiasRange"] == 1
    assert metrics["WMHypointensityVolume"] < 0.005 * metrics["WMVolume"]  # none is there


@pytest.mark.parametrize("damage", ["half", "scalp", "shifted", "eroded"])
def test_a_wrong_mask_does_not_pass(ideal, damage):
    mask = ideal[2].copy()
    if damage == "half":
        mask[:, :, mask.shape[2] // 2 :] = False
    elif damage == "scalp":
        mask = ndimage.binary_dilation(mask, iterations=4)
    elif damage == "shifted":
        mask = np.roll(mask, 6, axis=1)
    else:
        mask = ndimage.binary_erosion(mask, iterations=3)
    verdict, reasons = judge({**numbers(ideal, mask), "ImageQualityMark": 1.0})
    assert verdict != "pass"
    assert reasons


def test_numbers_are_plain_json(ideal):
    import json

    metrics = numbers(ideal, ideal[2])
    assert json.loads(json.dumps(metrics)) == metrics
    assert isinstance(SimpleNamespace(**metrics).JacobianRange, list)
