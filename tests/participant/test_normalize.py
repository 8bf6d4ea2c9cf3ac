"""Registration: what was deformed is found again, the same way every time."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_app.errors import ScanError
from bids_app.participant import normalize, transforms
from bids_app.participant._ants import image_like, to_ants
from bids_app.space.templates import get_template


@pytest.fixture(scope="module")
def moved():
    """The template's brain, shrunk by 10 % a side and shifted."""
    template = get_template(resolution=3.0)
    centre = np.array(template.shape) / 2
    scale = 1 / 0.9
    offset = centre - scale * (centre + np.array([2, -1, 1]))

    def shrink(image, order):
        data = ndimage.affine_transform(np.asarray(image.dataobj, np.float32), np.full(3, scale), offset, order=order)
        return image_like(data, template.t1w)

    return template, shrink(template.t1w, 1), image_like(shrink(template.mask, 0).get_fdata(), template.t1w, np.uint8)


@pytest.mark.filterwarnings("ignore:The behavior of affine_transform")
def test_a_known_shrinkage_is_found_and_repeats_exactly(moved, tmp_path):
    template, scan, mask = moved
    runs = [normalize.register(scan, mask, template, tmp_path / name, seed=0, sloppy=True) for name in "ab"]
    for run, name in zip(runs, "ab", strict=True):
        assert run.forward == tmp_path / name / "forward.h5"
        assert sorted(p.name for p in (tmp_path / name).iterdir()) == ["forward.h5", "inverse.h5"]
    first, second = (transforms.warp(scan, template.t1w, run.forward).get_fdata() for run in runs)
    np.testing.assert_array_equal(first, second)

    inside = np.asarray(template.mask.dataobj) > 0
    inner = ndimage.binary_erosion(inside, iterations=3)
    determinant = transforms.jacobian(template.t1w, runs[0].forward, tmp_path).get_fdata()
    assert determinant[inner].mean() == pytest.approx(0.9**3, rel=0.05)
    warped = transforms.warp(mask, template.t1w, runs[0].forward, "nearest").get_fdata() > 0
    assert 2 * (warped & inside).sum() / (warped.sum() + inside.sum()) > 0.97
    # There and back again.
    back = transforms.warp(template.mask, scan, runs[0].inverse, "nearest").get_fdata() > 0
    native = np.asarray(mask.dataobj) > 0
    assert 2 * (back & native).sum() / (back.sum() + native.sum()) > 0.97


def test_an_affine_and_a_field_become_one_file_for_either_direction(tmp_path):
    import ants

    template = get_template(resolution=3.0)
    affine = np.eye(4)
    affine[:3, :3] += np.random.default_rng(1).normal(0, 0.1, (3, 3))
    affine[:3, 3] = [4, -7, 2]
    lps = np.diag([-1, -1, 1, 1]) @ affine @ np.diag([-1, -1, 1, 1])
    linear = ants.create_ants_transform("AffineTransform", dimension=3, matrix=lps[:3, :3], offset=lps[:3, 3])
    ants.write_transform(linear, str(tmp_path / "affine.mat"))
    shift = np.array([3.0, -1.0, 2.0])  # everywhere the same, so that its inverse is known
    grid = to_ants(template.t1w)
    for name, sign in (("warp", 1), ("inverse", -1)):
        field = np.broadcast_to(sign * shift * [-1, -1, 1], (*template.shape, 3)).astype(np.float32)
        made = ants.from_numpy(field, grid.origin, grid.spacing, grid.direction, has_components=True)
        ants.image_write(made, str(tmp_path / f"{name}.nii"))
    warp = transforms.Warp(tmp_path / "warp.nii", tmp_path / "inverse.nii")
    found = transforms.write_composites(tmp_path / "affine.mat", warp, tmp_path)
    assert not list(tmp_path.glob("*_double.h5"))
    there = transforms.displacement(template.t1w, found.forward, tmp_path)
    back = transforms.displacement(template.t1w, found.inverse, tmp_path)
    points = nib.affines.apply_affine(template.affine, np.moveaxis(np.indices(template.shape), 0, -1))
    np.testing.assert_allclose(points + there, nib.affines.apply_affine(affine, points + shift), atol=1e-3)
    # Where the affine leads out of the field nothing is added: compared in the middle only.
    middle = tuple(slice(n // 3, 2 * n // 3) for n in template.shape)
    want = nib.affines.apply_affine(np.linalg.inv(affine), points) - shift
    np.testing.assert_allclose((points + back)[middle], want[middle], atol=1e-3)


@pytest.mark.filterwarnings("ignore:The behavior of affine_transform")
def test_a_field_that_is_no_number_is_an_error_of_the_scan(moved, tmp_path, monkeypatch):
    import picsl_greedy

    template, scan, mask = moved

    class Broken(picsl_greedy.Greedy3D):
        def execute(self, command, **more):
            super().execute(command, **more)
            name = command.split(" -o ")[1].split()[0]
            image = nib.load(name)
            nib.save(nib.Nifti1Image(np.full(image.shape, np.nan, np.float32), image.affine, image.header), name)

    monkeypatch.setattr(picsl_greedy, "Greedy3D", Broken)
    with pytest.raises(ScanError, match=r"registration to .* failed"):
        normalize.register(scan, mask, template, tmp_path, sloppy=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The behavior of affine_transform")
def test_the_whole_match_repeats_exactly_keeps_quiet_and_comes_back(moved, tmp_path, capfd):
    template, scan, mask = moved
    found, again = (normalize.register(scan, mask, template, tmp_path / name) for name in ("first", "with space"))
    assert capfd.readouterr().out == ""
    there = transforms.displacement(template.t1w, found.forward, tmp_path)
    np.testing.assert_array_equal(there, transforms.displacement(template.t1w, again.forward, tmp_path))
    back = transforms.displacement(scan, found.inverse, tmp_path)
    inside = np.argwhere(ndimage.binary_erosion(np.asarray(template.mask.dataobj) > 0, iterations=2))
    start = nib.affines.apply_affine(template.affine, inside)
    end = start + there[tuple(inside.T)]
    voxels = nib.affines.apply_affine(np.linalg.inv(scan.affine), end).T
    undone = end + np.stack([ndimage.map_coordinates(back[..., i], voxels, order=1) for i in range(3)], -1) - start
    distance = np.linalg.norm(undone, axis=1)
    assert distance.mean() < 0.5
    assert np.quantile(distance, 0.99) < 2


def test_priors_follow_the_inverse_transform(moved, tmp_path):
    template, scan, mask = moved
    found = normalize.register(scan, mask, template, tmp_path, sloppy=True)
    gm, wm, csf, deep = transforms.warp_priors(template, scan, found)
    inner = ndimage.binary_erosion(np.asarray(mask.dataobj) > 0, iterations=2)
    total = sum(np.asarray(p.dataobj) for p in (gm, wm, csf))
    assert np.mean(np.abs(total[inner] - 1) < 0.01) > 0.999
    # The quick schedule is loose in the depth of the brain.
    assert deep.get_fdata().sum() == pytest.approx(0.9**3 * template.deep.get_fdata().sum(), rel=0.10)
