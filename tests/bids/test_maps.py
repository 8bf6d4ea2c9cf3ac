"""Grey-matter maps of this and other pipelines: which are taken, and which are refused."""

import json

import nibabel as nib
import numpy as np
import pytest
from folders import make

from bids_app import __version__
from bids_app.bids.files import sidecar_path
from bids_app.bids.maps import check_alike, find_maps
from bids_app.errors import DatasetError


def test_modulated_map_is_preferred_and_the_first_dataset_counts(tmp_path):
    space = "space-MNI152NLin2009cAsym"
    ours = make(
        tmp_path / "ours",
        f"sub-01/anat/sub-01_{space}_res-1p5_label-GM_desc-modulated_probseg.nii.gz",
        f"sub-01/anat/sub-01_{space}_res-1p5_label-GM_desc-smoothed_probseg.nii.gz",
        f"sub-01/anat/sub-01_{space}_res-1p5_label-GM_probseg.nii.gz",
        "sub-01/anat/sub-01_label-GM_probseg.nii.gz",
    )
    other = make(
        tmp_path / "other",
        f"sub-01/anat/sub-01_{space}_res-1p5_label-GM_desc-modulated_probseg.nii.gz",
        f"sub-02/ses-1/anat/sub-02_ses-1_{space}_res-1p5_label-GM_probseg.nii.gz",
    )
    maps = find_maps([ours, other])
    assert [(m.prefix, m.modulated, m.resolution) for m in maps] == [
        ("sub-01", True, "1p5"),
        ("sub-02_ses-1", False, "1p5"),
    ]
    assert maps[0].path.is_relative_to(ours)
    assert find_maps([ours], resolution="2") == []


def map_file(path, shape=(6, 7, 6), size=2.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(np.full(shape, 0.5, np.float32), np.diag([size, size, size, 1])).to_filename(path)
    return path


def test_cat12_maps_are_found_by_their_own_names(tmp_path):
    root = tmp_path / "CAT12.9"
    map_file(root / "sub-01/anat/mri/mwp1sub-01_T1w.nii")
    map_file(root / "sub-01/anat/mri/wp1sub-01_T1w.nii")
    map_file(root / "sub-01/anat/mri/smwp1sub-01_T1w.nii")
    map_file(root / "sub-02/ses-a/mri/mwp1rsub-02_ses-a_run-01_T1w.nii.gz")
    report = root / "sub-01/anat/report/cat_sub-01_T1w.xml"
    report.parent.mkdir(parents=True)
    report.write_text("<S><subjectmeasures><vol_TIV>1432.5</vol_TIV></subjectmeasures></S>")
    maps = find_maps([root])
    assert [(m.prefix, m.space, m.modulated, m.tiv, m.path.name) for m in maps] == [
        ("sub-01", "MNI152NLin2009cAsym", True, 1432.5, "mwp1sub-01_T1w.nii"),
        ("sub-02_ses-a_run-01", "MNI152NLin2009cAsym", True, None, "mwp1rsub-02_ses-a_run-01_T1w.nii.gz"),
    ]
    assert [m.subject for m in find_maps([root], participants=["02"])] == ["02"]
    assert find_maps([root], prefer_space="MNI152NLin6Asym") == maps  # there are none in that space


def test_maps_of_the_preferred_space_are_taken_alone(tmp_path):
    for space in ("MNI152NLin6Asym", "MNI152NLin2009cAsym"):
        map_file(tmp_path / f"sub-01/anat/sub-01_space-{space}_label-GM_probseg.nii.gz")
    map_file(tmp_path / "sub-02/anat/sub-02_space-MNI152NLin2009cAsym_label-GM_probseg.nii.gz")
    (only,) = find_maps([tmp_path], prefer_space="MNI152NLin6Asym")
    assert (only.subject, only.space) == ("01", "MNI152NLin6Asym")
    assert len(find_maps([tmp_path])) == 3


@pytest.mark.parametrize(
    ("name", "message"), [("m0wp1sub-01_T1w.nii", "nonlinear part only"), ("mwp1patient7.nii", "does not say whose")]
)
def test_cat12_maps_that_cannot_be_used_are_refused_by_name(tmp_path, name, message):
    map_file(tmp_path / "mri" / name)
    with pytest.raises(DatasetError, match=message) as caught:
        find_maps([tmp_path])
    assert name in str(caught.value)


def test_fmriprep_maps_of_any_space_with_their_transform(tmp_path):
    anat = tmp_path / "sub-01/anat"
    map_file(anat / "sub-01_space-MNIPediatricAsym_cohort-4_res-1_label-GM_probseg.nii.gz")
    transform = anat / "sub-01_from-T1w_to-MNIPediatricAsym+4_mode-image_xfm.h5"
    assert find_maps([tmp_path])[0].transform is None
    transform.touch()
    (found,) = find_maps([tmp_path])
    assert (found.template, found.resolution, found.modulated) == ("MNIPediatricAsym:cohort-4", "1", False)
    assert found.transform == transform


def test_maps_of_different_engines_are_refused_together(tmp_path):
    """Whoever wrote or copied them; another program's maps say nothing of an engine, and go with any."""

    def write(label, **sidecar):
        path = map_file(tmp_path / f"sub-{label}/anat/sub-{label}_space-A_res-2_label-GM_desc-modulated_probseg.nii.gz")
        sidecar_path(path).write_text(json.dumps(sidecar))

    write("01", LatentAtlasVersion=__version__, TissueSegmentation="mixture")
    write("02", LatentAtlasVersion=__version__)  # before there was a choice
    write("03")
    check_alike(find_maps([tmp_path]), "")
    write("04", LatentAtlasVersion=__version__, TissueSegmentation="another")
    with pytest.raises(DatasetError, match=r"another: sub-04 \(1 scan\); mixture: sub-01, sub-02"):
        check_alike(find_maps([tmp_path]), "")
    copied = {"Precomputed": True, "SourceLatentAtlasVersion": __version__, "TissueSegmentation": "another"}
    write("04", LatentAtlasVersion=__version__, **copied)
    with pytest.raises(DatasetError, match="different segmentations") as caught:
        check_alike(find_maps([tmp_path]), "")
    assert "--segmentation" in caught.value.remedy
    write("01", LatentAtlasVersion=__version__, TissueSegmentation="another")
    write("02", LatentAtlasVersion=__version__, TissueSegmentation="another")
    check_alike(find_maps([tmp_path]), "")


def test_maps_that_differ_are_refused_with_the_offenders(tmp_path):
    name = "sub-{0}/anat/sub-{0}_space-MNI152NLin6Asym_label-GM_probseg.nii.gz"
    for label in ("01", "02", "03"):
        map_file(tmp_path / name.format(label))
    check_alike(find_maps([tmp_path]), "")
    map_file(tmp_path / name.format("04"), size=1.0)
    with pytest.raises(DatasetError, match=r"different grids.*sub-04"):
        check_alike(find_maps([tmp_path]), "")
    (tmp_path / name.format("04")).unlink()
    map_file(tmp_path / name.format("05").replace("NLin6", "NLin2009c"))
    with pytest.raises(DatasetError, match=r"different spaces.*MNI152NLin2009cAsym.*sub-05"):
        check_alike(find_maps([tmp_path]), "")
    (tmp_path / name.format("05").replace("NLin6", "NLin2009c")).unlink()
    (tmp_path / "sub-02/anat/sub-02_from-T1w_to-MNI152NLin6Asym_mode-image_xfm.h5").touch()
    maps = find_maps([tmp_path])
    check_alike(maps, "")
    with pytest.raises(DatasetError, match=r"different kinds.*sub-02"):
        check_alike(maps, "", modulating=True)
