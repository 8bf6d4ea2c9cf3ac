"""Grey-matter maps of this and other pipelines: which are taken, and which are refused."""

import json

import nibabel as nib
import numpy as np
import pytest

from bids_app import __version__
from bids_app.bids.alike import check_alike
from bids_app.bids.files import sidecar_path
from bids_app.bids.maps import Wanted, find_maps
from bids_app.errors import DatasetError


def test_modulated_map_is_preferred_and_smoothed_or_native_ones_are_not_taken(tmp_path):
    space = "space-MNI152NLin2009cAsym"
    for name in (
        f"sub-01/anat/sub-01_{space}_res-1p5_label-GM_desc-modulated_probseg.nii.gz",
        f"sub-01/anat/sub-01_{space}_res-1p5_label-GM_desc-smoothed_probseg.nii.gz",
        f"sub-01/anat/sub-01_{space}_res-1p5_label-GM_probseg.nii.gz",
        "sub-01/anat/sub-01_label-GM_probseg.nii.gz",
        "sub-01/anat/sub-01_space-T1w_label-GM_probseg.nii.gz",
        f"sub-02/ses-1/anat/sub-02_ses-1_{space}_res-1p5_label-GM_probseg.nii.gz",
        f"sub-02/ses-1/anat/sub-02_ses-1_{space}_res-1p5_label-WM_probseg.nii.gz",
    ):
        map_file(tmp_path / name)
    maps = find_maps([tmp_path]).maps
    assert [(m.prefix, m.modulated, m.resolution) for m in maps] == [
        ("sub-01", True, "1p5"),
        ("sub-02_ses-1", False, "1p5"),
    ]


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
    maps = find_maps([root]).maps
    assert [(m.prefix, m.space, m.modulated, m.tiv, m.path.name) for m in maps] == [
        ("sub-01", "MNI152NLin2009cAsym", True, 1432.5, "mwp1sub-01_T1w.nii"),
        ("sub-02_ses-a_run-01", "MNI152NLin2009cAsym", True, None, "mwp1rsub-02_ses-a_run-01_T1w.nii.gz"),
    ]
    assert [m.subject for m in find_maps([root], participants=["02"]).maps] == ["02"]
    assert find_maps([root], wanted=Wanted("MNI152NLin6Asym")).maps == maps  # there are none in that space


def test_maps_of_the_preferred_space_are_taken_alone(tmp_path):
    for space in ("MNI152NLin6Asym", "MNI152NLin2009cAsym"):
        map_file(tmp_path / f"sub-01/anat/sub-01_space-{space}_label-GM_probseg.nii.gz")
    map_file(tmp_path / "sub-02/anat/sub-02_space-MNI152NLin2009cAsym_label-GM_probseg.nii.gz")
    (only,) = find_maps([tmp_path], wanted=Wanted("MNI152NLin6Asym")).maps
    assert (only.subject, only.space) == ("01", "MNI152NLin6Asym")
    assert len(find_maps([tmp_path]).maps) == 3


def test_cat12_maps_that_cannot_be_used_are_named(tmp_path):
    map_file(tmp_path / "mri" / "m0wp1sub-01_T1w.nii")
    with pytest.raises(DatasetError, match=r"only for the nonlinear part.*m0wp1sub-01_T1w.nii"):
        find_maps([tmp_path])
    map_file(tmp_path / "mri" / "mwp1patient7.nii")
    map_file(tmp_path / "mri" / "mwp1sub-02_T1w.nii")
    found = find_maps([tmp_path])
    assert [m.prefix for m in found.maps] == ["sub-02"]
    assert [(u.name, "does not identify the scan" in u.reason) for u in found.unusable] == [("mwp1patient7.nii", True)]


def test_fmriprep_maps_of_any_space_with_their_transform(tmp_path):
    anat = tmp_path / "sub-01/anat"
    map_file(anat / "sub-01_space-MNIPediatricAsym_cohort-4_res-1_label-GM_probseg.nii.gz")
    transform = anat / "sub-01_from-T1w_to-MNIPediatricAsym+4_mode-image_xfm.h5"
    assert find_maps([tmp_path]).maps[0].transform is None
    transform.write_bytes(b"x")
    (found,) = find_maps([tmp_path]).maps
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
    check_alike(find_maps([tmp_path]).maps, "")
    write("04", LatentAtlasVersion=__version__, TissueSegmentation="another")
    with pytest.raises(DatasetError, match=r"another: sub-04 \(1 scan\); mixture: sub-01, sub-02"):
        check_alike(find_maps([tmp_path]).maps, "")
    copied = {"Precomputed": True, "SourceLatentAtlasVersion": __version__, "TissueSegmentation": "another"}
    write("04", LatentAtlasVersion=__version__, **copied)
    with pytest.raises(DatasetError, match="different segmentations") as caught:
        check_alike(find_maps([tmp_path]).maps, "")
    assert "--segmentation" in caught.value.remedy
    write("01", LatentAtlasVersion=__version__, TissueSegmentation="another")
    write("02", LatentAtlasVersion=__version__, TissueSegmentation="another")
    check_alike(find_maps([tmp_path]).maps, "")


def test_maps_that_differ_are_refused_with_the_offenders(tmp_path):
    name = "sub-{0}/anat/sub-{0}_space-MNI152NLin6Asym_label-GM_probseg.nii.gz"
    for label in ("01", "02", "03"):
        map_file(tmp_path / name.format(label))
    check_alike(find_maps([tmp_path]).maps, "")
    map_file(tmp_path / name.format("04"), size=1.0)
    with pytest.raises(DatasetError, match=r"different grids.*sub-04"):
        check_alike(find_maps([tmp_path]).maps, "")
    (tmp_path / name.format("04")).unlink()
    map_file(tmp_path / name.format("05").replace("NLin6", "NLin2009c"))
    with pytest.raises(DatasetError, match=r"different spaces.*MNI152NLin2009cAsym.*sub-05"):
        check_alike(find_maps([tmp_path]).maps, "")
    (tmp_path / name.format("05").replace("NLin6", "NLin2009c")).unlink()
    (tmp_path / "sub-02/anat/sub-02_from-T1w_to-MNI152NLin6Asym_mode-image_xfm.h5").write_bytes(b"x")
    maps = find_maps([tmp_path]).maps
    check_alike(maps, "")
    with pytest.raises(DatasetError, match=r"different kinds.*sub-02"):
        check_alike(maps, "", modulating=True)


@pytest.mark.parametrize(
    ("name", "transform"),
    [
        ("sub-01_T1w_space-MNI152NLin2009cAsym_class-GM_probtissue.nii.gz", "T1w_target-MNI152NLin2009cAsym_warp.h5"),
        (
            "sub-01_space-MNI152NLin2009cAsym_label-GM_probseg.nii.gz",
            "from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm.h5",
        ),
        ("sub-01_run-1_space-MNI152NLin2009cAsym_res-2_label-GM_probseg.nii", None),
        ("sub-01_acq-a+b_space-MNI152NLin2009cAsym_label-GM_probseg.nii.gz", None),
    ],
)
def test_namings_of_several_releases(tmp_path, name, transform):
    file = map_file(tmp_path / "sub-01" / "anat" / name)
    if transform:
        file.with_name(f"sub-01_{transform}").write_bytes(b"x")
    (found,) = find_maps([tmp_path]).maps
    assert (found.path, found.space in name, found.modulated) == (file, True, False)
    assert (found.transform is not None) == (transform is not None)


def test_cohort_and_resolution_are_chosen_by_the_options_that_the_error_names(tmp_path):
    anat = tmp_path / "sub-01/anat"
    for cohort in (4, 5):
        for res, size in (("1", 1.0), ("2", 2.0)):
            name = f"sub-01_space-MNIPediatricAsym_cohort-{cohort}_res-{res}_label-GM_probseg.nii.gz"
            map_file(anat / name, size=size)
    everything = find_maps([tmp_path]).maps
    assert len(everything) == 4
    with pytest.raises(DatasetError, match="different spaces"):
        check_alike(everything, "")
    chosen = find_maps([tmp_path], wanted=Wanted("MNIPediatricAsym", cohort="5")).maps
    assert {m.cohort for m in chosen} == {"5"}
    (only,) = find_maps([tmp_path], wanted=Wanted("MNIPediatricAsym", cohort="5", voxel_mm=2.0)).maps
    assert (only.cohort, only.resolution) == ("5", "2")
    (only,) = find_maps([tmp_path], wanted=Wanted("MNIPediatricAsym", cohort="4", res="01")).maps
    assert (only.cohort, only.resolution) == ("4", "1")


def test_maps_that_cannot_be_opened_are_named_and_the_others_taken(tmp_path):
    name = "sub-{0}/anat/sub-{0}_space-MNI152NLin6Asym_label-GM_probseg.nii.gz"
    for label in ("01", "02", "03", "04", "05"):
        map_file(tmp_path / name.format(label))
    link = tmp_path / name.format("02")
    link.unlink()
    link.symlink_to("../../.git/annex/objects/x")
    (tmp_path / name.format("03")).write_bytes(b"")
    (tmp_path / name.format("04")).write_bytes(b"no image at all" * 99)
    (tmp_path / name.format("05").replace(".nii.gz", ".json")).write_text('{"QualityVerdict": "fa')
    found = find_maps([tmp_path])
    assert [m.subject for m in found.maps] == ["01"]
    assert [u.name for u in found.unusable] == ["sub-02", "sub-03", "sub-04", "sub-05"]
    for item, words in zip(
        found.unusable, ("the link is broken", "is empty", "cannot be read", "sidecar"), strict=True
    ):
        assert words in item.reason
        assert item.name in item.reason


def test_people_of_one_label_in_two_datasets_are_never_made_one(tmp_path):
    name = "sub-{0}/anat/sub-{0}_space-MNI152NLin6Asym_label-GM_probseg.nii.gz"
    for root, labels in (("a", ("01", "02")), ("b", ("02", "03"))):
        for label in labels:
            map_file(tmp_path / root / name.format(label))
    with pytest.raises(DatasetError, match=r"sub-02.*are they the same person"):
        find_maps([tmp_path / "a", tmp_path / "b"])
    (tmp_path / "b" / name.format("02")).unlink()
    found = find_maps([tmp_path / "a", tmp_path / "b"]).maps
    assert [(m.subject, m.home.name) for m in found] == [("01", "a"), ("02", "a"), ("03", "b")]


def test_a_map_without_a_res_label_is_judged_by_its_grid(tmp_path):
    map_file(tmp_path / "sub-01/anat/sub-01_space-MNI152NLin6Asym_res-2_label-GM_probseg.nii.gz")
    other = map_file(tmp_path / "sub-02/anat/sub-02_space-MNI152NLin6Asym_label-GM_probseg.nii.gz")
    check_alike(find_maps([tmp_path]).maps, "")
    map_file(other, size=3.0)
    with pytest.raises(DatasetError, match=r"different grids.*sub-0"):
        check_alike(find_maps([tmp_path]).maps, "")
    map_file(tmp_path / "sub-03/anat/sub-03_space-MNI152NLin6Asym_res-3_label-GM_probseg.nii.gz")
    with pytest.raises(DatasetError, match="different resolutions"):
        check_alike(find_maps([tmp_path]).maps, "")
