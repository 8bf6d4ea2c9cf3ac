"""Reading scans: what is mended and what is refused."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from bids_app.errors import ScanError
from bids_app.participant.inputs import load_t1w, read_t1w, shear

SHAPE = (40, 44, 36)


@pytest.fixture
def write(tmp_path):
    def save(data, affine=None, name="scan.nii.gz", **codes):
        image = nib.Nifti1Image(data, np.diag([4.0, 4, 4, 1]) if affine is None else affine)
        for key, value in codes.items():
            image.header[key] = value
        path = tmp_path / name
        nib.save(image, path)
        return path

    return save


def noise(shape=SHAPE):
    return np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)


def test_ras_order_keeps_world_positions(write):
    data = noise()
    affine = np.array([[0, 0, 4.0, -70], [-4, 0, 0, 80], [0, -4, 0, 60], [0, 0, 0, 1]])
    image = load_t1w(write(data, affine))
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    world = affine @ [10, 20, 30, 1]
    voxel = np.linalg.inv(image.affine) @ world
    assert image.get_fdata()[tuple(np.round(voxel[:3]).astype(int))] == pytest.approx(data[10, 20, 30])
    assert image.get_data_dtype() == np.float32


def test_trailing_axis_is_dropped_and_stray_nans_become_zero(write):
    data = noise((*SHAPE, 1))
    data[3, 3, 3] = np.nan
    image = load_t1w(write(data))
    assert image.shape == SHAPE
    assert image.get_fdata()[3, 3, 3] == 0


def test_qform_only(write):
    affine = np.diag([4.0, 4, 4, 1])
    affine[:3, 3] = [-80, -90, -70]
    path = write(noise(), affine)
    image = nib.load(path)
    image.set_qform(affine, 1)
    image.set_sform(np.eye(4) * 7, 0)
    nib.save(image, path)
    loaded = load_t1w(path)
    np.testing.assert_allclose(loaded.affine, affine, atol=1e-4)
    assert int(loaded.header["sform_code"]) == int(loaded.header["qform_code"]) == 1


def test_sform_with_shear_gives_an_orthogonal_grid(write):
    sheared = np.diag([4.0, 4, 4, 1])
    sheared[0, 1] = 0.8
    image = load_t1w(write(noise(), sheared))
    assert shear(image.affine) < 1e-3


@pytest.mark.parametrize(
    ("size", "code", "used"), [(3.6, 4, 4), (4.4, 3, 4), (4.02, 4, 4.02), (3.6, 1, 3.6), (4.4, 2, 4.4), (3.6, 0, 4)]
)
def test_an_sform_that_was_scaled_to_a_template_gives_way_to_the_qform(tmp_path, told, size, code, used):
    """Any other difference of the voxel sizes is said, and told by a number: nobody knows which form is right."""
    scaled = np.diag([size / 4, size / 4, size / 4, 1]) @ AFFINE
    path = with_forms(tmp_path / "a.nii", scaled, AFFINE, (code, 1))
    assert float(read_t1w(path).image.header.get_zooms()[0]) == pytest.approx(used, rel=1e-5)
    difference = 0 if code == 0 else abs(size / 4 - 1)
    assert read_t1w(path).sizes_differ == pytest.approx(difference, abs=1e-5)
    assert ("other voxel sizes than the qform" in told.text) is (difference > 0.01)
    alone = with_forms(tmp_path / "b.nii", scaled, AFFINE, (4, 0))
    assert float(read_t1w(alone).image.header.get_zooms()[0]) == pytest.approx(size, rel=1e-5)
    assert read_t1w(alone).sizes_differ == 0


def test_a_flipped_bit_in_compressed_data_is_found(tmp_path, write):
    whole = bytearray(write(noise()).read_bytes())
    late = tmp_path / "late.nii.gz"
    for place in (-8, -5):  # the checksum: what comes before may be read without it
        damaged = bytearray(whole)
        damaged[place] ^= 1
        late.write_bytes(damaged)
        with pytest.raises(ScanError, match="damaged"):
            load_t1w(late)
    late.write_bytes(whole + b"something else")  # copied from a medium with blocks
    np.testing.assert_array_equal(load_t1w(late).get_fdata(), load_t1w(write(noise())).get_fdata())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.zeros(SHAPE, np.float32), "empty"),
        (np.full(SHAPE, 7, np.float32), "constant"),
        (np.full(SHAPE, np.nan, np.float32), "no finite value"),
        (noise((*SHAPE, 3)), "dimensions"),
        (noise((40, 44, 4)), "only"),
    ],
)
def test_unusable_values(write, data, words):
    path = write(data)
    with pytest.raises(ScanError, match=words) as caught:
        load_t1w(path)
    assert caught.value.file == path
    assert caught.value.remedy


def test_a_slab_or_a_wrong_voxel_size(write):
    with pytest.raises(ScanError, match="not show a whole head"):
        load_t1w(write(noise(), np.diag([1.0, 1, 1, 1])))
    with pytest.raises(ScanError, match="not show a whole head"):
        load_t1w(write(noise(), np.diag([12.0, 12, 12, 1])))


def test_singular_affine(write):
    path = write(noise())
    image = nib.load(path)
    image.header["sform_code"], image.header["qform_code"] = 1, 0
    image.header["srow_x"] = image.header["srow_y"] = [4, 0, 0, 0]
    nib.save(nib.Nifti1Image(noise(), None, image.header), path)
    with pytest.raises(ScanError):
        load_t1w(path)


def test_missing_empty_truncated_and_foreign_files(tmp_path, write):
    with pytest.raises(ScanError, match="no such file"):
        load_t1w(tmp_path / "none.nii.gz")
    (tmp_path / "zero.nii.gz").touch()
    with pytest.raises(ScanError, match="empty"):
        load_t1w(tmp_path / "zero.nii.gz")
    whole = write(noise()).read_bytes()
    (tmp_path / "half.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ScanError, match="truncated"):
        load_t1w(tmp_path / "half.nii.gz")
    short = tmp_path / "short.nii"
    short.write_bytes(gzip.decompress(whole)[:5000])
    with pytest.raises(ScanError, match="truncated"):
        load_t1w(short)
    (tmp_path / "text.nii.gz").write_text("not an image")
    with pytest.raises(ScanError, match="not NIfTI"):
        load_t1w(tmp_path / "text.nii.gz")


AFFINE = np.array([[-4.0, 0, 0, 80], [0, 4, 0, -90], [0, 0, 4, -70], [0, 0, 0, 1]])


def with_forms(path, sform, qform, codes, **fields):
    """An image of which both forms and their codes are as wanted, whatever nibabel thinks of it."""
    image = nib.Nifti1Image(noise(), AFFINE)
    header = image.header
    header.set_qform(qform, 1)
    header.set_sform(sform, 1)
    header["sform_code"], header["qform_code"] = codes
    if sform is None:
        header["srow_x"] = header["srow_y"] = header["srow_z"] = 0
    for name, value in fields.items():
        header[name] = value
    content = bytearray(header.binaryblock) + b"\0" * 4 + np.asarray(image.dataobj, np.float32).tobytes("F")
    content[108:112] = np.float32(352).tobytes()
    path.write_bytes(bytes(content))
    return path


def test_a_good_qform_counts_beside_an_empty_sform(tmp_path):
    found = read_t1w(with_forms(tmp_path / "a.nii", None, AFFINE, (1, 1)))
    assert not found.sides_uncertain
    np.testing.assert_allclose(found.image.affine, nib.as_closest_canonical(nib.Nifti1Image(noise(), AFFINE)).affine)


def test_a_rounded_quaternion_is_read(tmp_path):
    turned = np.diag([-1.0, -1, 1, 1]) @ AFFINE  # its quaternion has length one in b, c and d alone
    path = with_forms(tmp_path / "a.nii", None, turned, (0, 1), quatern_b=0.0, quatern_c=0.0, quatern_d=1.001)
    with pytest.raises(Exception, match="w2 should be positive"):
        nib.load(path)
    found = read_t1w(path)
    expected = np.abs(np.diag([4.0, 4, 4]))
    np.testing.assert_allclose(np.abs(found.image.affine[:3, :3]), expected, atol=1e-4)
    assert not found.sides_uncertain


@pytest.mark.parametrize(
    ("qform", "codes", "uncertain"),
    [
        (AFFINE, (0, 0), 1),
        (np.diag([-1.0, 1, 1, 1]) @ AFFINE, (1, 1), 2),
        (np.diag([-1.0, -1, 1, 1]) @ AFFINE, (2, 1), 2),
        (np.diag([-1.0, 1, 1, 1]) @ AFFINE, (1, 0), 0),
        (AFFINE, (1, 1), 0),
        (AFFINE, (4, 1), 0),
    ],
)
def test_uncertain_sides_are_said(tmp_path, qform, codes, uncertain):
    assert read_t1w(with_forms(tmp_path / "a.nii", AFFINE, qform, codes)).sides_uncertain == uncertain


def test_a_head_that_was_registered_lies_a_little_askew(tmp_path):
    angle = np.deg2rad(25)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    assert not read_t1w(with_forms(tmp_path / "a.nii", turn @ AFFINE, AFFINE, (4, 1))).sides_uncertain


def test_units_of_the_header_are_heeded_where_a_head_fits_in_then_only(tmp_path):
    small = np.diag([0.001, 0.001, 0.001, 1]) @ AFFINE
    found = read_t1w(with_forms(tmp_path / "a.nii", small, small, (1, 1), xyzt_units=1))
    np.testing.assert_allclose(found.image.header.get_zooms(), 4, rtol=1e-5)
    for code in (1, 4, 7, 255):  # a wrong word for mm, and some that mean nothing
        found = read_t1w(with_forms(tmp_path / f"b{code}.nii", AFFINE, AFFINE, (1, 1), xyzt_units=code))
    np.testing.assert_allclose(found.image.header.get_zooms(), 4, rtol=1e-5)


def test_a_header_that_says_more_than_any_memory_holds(tmp_path):
    content = bytearray(with_forms(tmp_path / "a.nii", AFFINE, AFFINE, (1, 1)).read_bytes())
    content[42:48] = np.array([32767, 32767, 32767], np.int16).tobytes()
    for name, packed in (("b.nii", bytes(content)), ("c.nii.gz", gzip.compress(bytes(content)))):
        (tmp_path / name).write_bytes(packed)
        with pytest.raises(ScanError, match="32767 x 32767 x 32767"):
            load_t1w(tmp_path / name)


def test_colour_is_refused(write):
    for channels in "RGB", "RGBA":
        with pytest.raises(ScanError, match="colour") as caught:
            load_t1w(write(np.zeros(SHAPE, [(channel, "u1") for channel in channels])))
        assert "T1w image itself" in caught.value.remedy


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_name_that_is_wrong_about_compression_is_told(tmp_path, kind, caplog):
    whole, packed = tmp_path / "whole.nii", tmp_path / "packed.nii.gz"
    for path in (whole, packed):
        nib.save(kind(noise(), np.diag([4.0, 4, 4, 1])), path)
    for path, suffix, said in ((packed, ".nii", r"Rename it to \.nii\.gz"), (whole, ".nii.gz", r"Rename it to \.nii,")):
        path = path.rename(tmp_path / f"scan{suffix}")
        with pytest.raises(ScanError, match=said):
            load_t1w(path)
    assert not caplog.records


def test_complex_values_are_refused(write):
    with pytest.raises(ScanError, match="complex"):
        load_t1w(write(noise().astype(np.complex64)))
