"""Maps of other programs: what is no grey matter is told from what is."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_app.errors import ScanError
from bids_app.participant.precomputed import load_map, measure_map
from bids_app.schema.measures import NAMED
from bids_app.space.templates import get_template
from bids_app.workflows.judged_maps import judge_map

TEMPLATE = get_template(resolution=4.0)
GREY, WHITE = (np.asarray(image.dataobj) for image in (TEMPLATE.gm, TEMPLATE.wm))


def a_brain(data=GREY):
    """Somebody's grey matter: the template's with folds of its own, every voxel with a Jacobian of its own."""
    rng = np.random.default_rng(3)
    fields = [ndimage.gaussian_filter(rng.normal(size=data.shape), 2.5) for _ in range(4)]
    shift = [field / field.std() * 0.5 for field in fields[:3]]
    grid = np.meshgrid(*(np.arange(n) for n in data.shape), indexing="ij")
    moved = ndimage.map_coordinates(data, [g + s for g, s in zip(grid, shift, strict=True)], order=1)
    return (moved * np.clip(0.75 + 0.2 * fields[3] / fields[3].std(), 0.2, 2)).astype(np.float32)


def judged(data, tmp_path, affine=TEMPLATE.affine, space="MNI152NLin2009aSym", told=None, modulated=True):
    path = tmp_path / "map.nii.gz"
    nib.save(nib.Nifti1Image(np.asarray(data, np.float32), affine), path)
    return judge_map(path, load_map(path, modulated=modulated), space, told or {}, modulated=modulated)


def test_a_brain_passes_in_any_mni152_space_and_on_any_grid(tmp_path):
    brain = a_brain()
    for space in ("MNI152NLin2009aSym", "MNI152NLin2009cAsym", "MNI152NLin6Asym"):
        assert judged(brain, tmp_path, space=space)["QualityVerdict"] == "pass"
    assert judged(np.roll(brain, 1, 1), tmp_path)["QualityVerdict"] in ("pass", "look")  # 4 mm aside
    stored = TEMPLATE.affine @ flip(brain.shape, 0, 1)  # other axes, the same brain
    assert judged(brain[::-1, ::-1], tmp_path, affine=stored)["QualityVerdict"] == "pass"
    assert judged(np.clip(brain, 0, 1), tmp_path, modulated=False)["QualityVerdict"] == "pass"


def flip(shape, *axes):
    matrix = np.eye(4)
    for axis in axes:
        matrix[axis, axis], matrix[axis, 3] = -1, shape[axis] - 1
    return matrix


@pytest.mark.parametrize(
    "make",
    [
        lambda: a_brain(WHITE),
        lambda: np.random.default_rng(0).random(GREY.shape) * (np.asarray(TEMPLATE.mask.dataobj) > 0),
        lambda: np.random.default_rng(0).random(GREY.shape),
        lambda: np.asarray(TEMPLATE.mask.dataobj, np.float32) * 0.4,
        lambda: a_brain()[:, ::-1],
        lambda: a_brain()[:, :, ::-1],
        lambda: np.roll(a_brain(), 12, 2),
        lambda: 3 * a_brain(),
        lambda: 0.2 * a_brain(),
        lambda: a_brain() * (np.arange(GREY.shape[2]) > 24),
    ],
    ids=[
        "white",
        "noise",
        "noise everywhere",
        "mask",
        "back to front",
        "upside down",
        "shifted",
        "x 3",
        "x 0.2",
        "half",
    ],
)
def test_what_is_no_grey_matter_fails(tmp_path, make):
    found = judged(make(), tmp_path)
    assert found["QualityVerdict"] == "fail", found
    assert found["QualityReasons"]
    assert set(found) - {"QualityVerdict", "QualityReasons", "QualityLimits"} <= set(NAMED)


def test_a_field_of_view_that_ends_in_the_brain_fails(tmp_path):
    brain = a_brain()
    assert judged(brain[:, :, :24], tmp_path)["QualityVerdict"] == "fail"
    assert judged(brain[:, :, :24], tmp_path)["MapCoverage"] < 0.85


def test_a_verdict_that_is_told_gets_no_better(tmp_path):
    for told in ("fail", "look"):
        found = judged(a_brain(), tmp_path, told={"QualityVerdict": told, "QualityReasons": ["it said so"]})
        assert (found["QualityVerdict"], found["QualityReasons"]) == (told, ["it said so"])
    found = judged(a_brain(WHITE), tmp_path, told={"QualityVerdict": "pass", "QualityReasons": []})
    assert found["QualityVerdict"] == "fail"
    assert judged(a_brain(), tmp_path, told={"TIV": 300.0})["QualityVerdict"] == "fail"


def test_a_space_whose_template_is_not_at_hand_asks_for_a_look(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path / "none"))
    found = judged(a_brain(), tmp_path, space="MNIPediatricAsym:cohort-4")
    assert found["QualityVerdict"] == "look"
    assert "not available locally" in found["QualityReasons"][0]
    assert "MapLikeness" not in found


def test_sides_that_the_header_leaves_open(tmp_path):
    path = tmp_path / "map.nii.gz"
    image = nib.Nifti1Image(a_brain(), TEMPLATE.affine)
    image.set_sform(TEMPLATE.affine, 4)
    image.set_qform(np.diag([-1.0, 1, 1, 1]) @ TEMPLATE.affine, 4)
    nib.save(image, path)
    found = judge_map(path, load_map(path), "MNI152NLin2009aSym", {}, modulated=True)
    assert (found["QualityVerdict"], found["SidesUncertain"]) == ("look", 2)


@pytest.mark.parametrize("factor", [100, 255])
def test_percentages_and_bytes_are_refused(tmp_path, factor):
    nib.save(nib.Nifti1Image(factor * GREY, TEMPLATE.affine), tmp_path / "map.nii.gz")
    with pytest.raises(ScanError, match="impossible for tissue fractions"):
        load_map(tmp_path / "map.nii.gz")
    nib.save(nib.Nifti1Image(1.4 * GREY, TEMPLATE.affine), tmp_path / "map.nii.gz")
    with pytest.raises(ScanError, match="impossible for tissue fractions"):
        load_map(tmp_path / "map.nii.gz", modulated=False)


def test_numbers_without_a_template():
    image = nib.Nifti1Image(np.full((5, 5, 5), 0.5, np.float32), np.diag([2.0, 2, 2, 1]))
    assert measure_map(image, None, modulated=True) == {"ModulatedGMVolume": 0.5}
    assert measure_map(image, None, modulated=False) == {}
