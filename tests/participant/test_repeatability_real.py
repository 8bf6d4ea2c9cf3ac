"""The same real brain in another position, on another grid, with other noise and another bias field."""

import nibabel as nib
import numpy as np
import pytest
from chain import grey_matter, regional
from scipy import ndimage

from bids_app.participant import inputs
from bids_app.participant._grid import block_average
from bids_app.space.templates import get_template

pytestmark = pytest.mark.real


def rescanned(t1w: nib.Nifti1Image) -> nib.Nifti1Image:
    """Turned by 8 degrees, shifted, on 1.2 mm voxels, with noise of 2 % and a bias field of +-25 %."""
    data = np.asarray(t1w.dataobj, dtype=np.float32)
    corners = t1w.affine @ np.c_[np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(t1w.shape) - 1), np.ones(8)].T
    low, high = corners[:3].min(1), corners[:3].max(1)
    size, angle = 1.2, np.deg2rad(8)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.diag([size, size, size, 1.0])
    affine[:3, 3] = low
    move = np.eye(4)  # where a point of the moved head was before
    centre = (low + high) / 2
    move[:3, :3], move[:3, 3] = turn, centre - turn @ centre + [6, -9, 4]
    matrix = np.linalg.inv(t1w.affine) @ move @ affine
    shape = tuple(np.ceil((high - low) / size).astype(int))
    moved = ndimage.affine_transform(data, matrix[:3, :3], matrix[:3, 3], output_shape=shape, order=3)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    field = np.exp(0.25 * (0.6 * x - 0.5 * y * z + 0.4 * z**2))
    noise = np.random.default_rng(0).normal(0, 0.02 * np.percentile(data, 98), shape)
    image = nib.Nifti1Image(np.abs(moved * field + noise).astype(np.float32), affine)
    image.set_sform(affine, 1)
    return image


def test_regional_grey_matter_repeats(real_data, tmp_path):
    found = sorted(real_data.glob("ds000011/sub-01/anat/*_T1w.nii.gz"))
    if not found:
        pytest.skip("needs ds000011")
    template = get_template(resolution=2.0)
    rescanned(inputs.load_t1w(found[0])).to_filename(tmp_path / "again.nii.gz")
    maps = []
    for name, path in (("first", found[0]), ("again", tmp_path / "again.nii.gz")):
        maps.append(grey_matter(inputs.load_t1w(path), template, tmp_path / name)[-1].gm)
    _, volumes = regional(template, *maps)
    change = np.abs(np.log(volumes[1] / volumes[0]))
    assert np.median(change) < 0.03
    assert np.quantile(change, 0.9) < 0.10
    assert volumes[1].sum() == pytest.approx(volumes[0].sum(), rel=0.03)


def test_voxel_size_does_not_matter(real_data, tmp_path):
    """A scan of about 1.2 mm voxels and the means of blocks of eight of them, as half the resolution would see them."""
    found = sorted(real_data.glob("ds000011/sub-02/anat/*_T1w.nii.gz"))
    if not found:
        pytest.skip("needs ds000011")
    template = get_template(resolution=2.0)
    fine = inputs.load_t1w(found[0])
    coarse = block_average(fine, 2.0)
    assert coarse.header.get_zooms()[0] > 1.7
    maps = [grey_matter(t1w, template, tmp_path / str(i))[-1].gm for i, t1w in enumerate((fine, coarse))]
    _, volumes = regional(template, *maps)
    change = np.log(volumes[1] / volumes[0])
    assert np.median(np.abs(change)) < 0.03
    assert volumes[1].sum() == pytest.approx(volumes[0].sum(), rel=0.02)  # 1.4 %
