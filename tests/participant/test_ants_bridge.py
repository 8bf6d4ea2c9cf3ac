"""Coordinates survive the way to ANTs and back; temporary files stay where they belong."""

import tempfile

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from bids_app.participant._ants import from_ants, plain, scratch, to_ants
from bids_app.participant.transforms import displacement


def oblique(angles=(10, -20, 30), zooms=(1, 1.5, 2.5), flip=1):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(zooms)
    affine[:3, 0] *= flip
    affine[:3, 3] = [-20, 35, 7]
    return affine


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.floats(-180, 180)] * 3), st.tuples(*[st.floats(0.3, 4)] * 3), st.sampled_from([1, -1]))
def test_round_trip(angles, zooms, flip):
    data = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    image = nib.Nifti1Image(data, oblique(angles, zooms, flip))
    back = from_ants(to_ants(image))
    np.testing.assert_allclose(back.affine, image.affine, atol=1e-4)
    np.testing.assert_array_equal(back.get_fdata(), data)


def test_same_geometry_as_itk_reads_from_the_file(tmp_path):
    import ants

    data = np.random.default_rng(0).random((8, 9, 7)).astype(np.float32)
    image = nib.Nifti1Image(data, oblique())
    nib.save(image, tmp_path / "oblique.nii.gz")
    read, made = ants.image_read(str(tmp_path / "oblique.nii.gz")), to_ants(image)
    np.testing.assert_allclose(made.origin, read.origin, atol=1e-4)
    np.testing.assert_allclose(made.spacing, read.spacing, atol=1e-5)
    np.testing.assert_allclose(made.direction, read.direction, atol=1e-5)
    np.testing.assert_allclose(made.numpy(), read.numpy())


def test_shear_is_refused():
    affine = np.eye(4)
    affine[0, 1] = 0.3
    with pytest.raises(ValueError, match="shear"):
        to_ants(nib.Nifti1Image(np.zeros((3, 3, 3), np.float32), affine))


def test_scratch_holds_temporary_files_and_goes(tmp_path):
    before = tempfile.gettempdir()
    with scratch(tmp_path / "work") as folder:
        name = tempfile.mktemp()
        assert str(folder) in name
        (folder / "left-over").write_text("x")
    assert list((tmp_path / "work").iterdir()) == []
    assert tempfile.gettempdir() == before


@pytest.mark.parametrize("name", ["a [x], & b", "ü", "it's", 'a "b"', "a;b$(c)", "plain-1.5_x"])
def test_ants_works_in_folders_of_any_name(tmp_path, name):
    import ants

    folder = tmp_path / name
    image = nib.Nifti1Image(np.random.default_rng(0).random((9, 9, 9)).astype(np.float32), np.eye(4))
    (folder / "sub").mkdir(parents=True)
    transform = folder / "sub" / "shift.mat"
    ants.write_transform(ants.new_ants_transform(parameters=[1, 0, 0, 0, 1, 0, 0, 0, 1, 2.0, 0, 0]), str(transform))
    field = displacement(image, transform, folder / "work")
    np.testing.assert_allclose(field[..., 0], -2, atol=1e-5)
    assert sorted(p.name for p in folder.iterdir()) == ["sub", "work"]
    assert list((folder / "work").iterdir()) == []
    with plain(transform) as link:
        assert link.read_bytes() == transform.read_bytes()
    assert transform.exists()
