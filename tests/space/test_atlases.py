"""Atlases on the grid of the maps, and regional volumes against a loop."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_app.errors import DatasetError, NoInputError
from bids_app.schema.atlases import ATLASES
from bids_app.space.atlases import LOADERS, load_atlas, paint, regional_volumes

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
