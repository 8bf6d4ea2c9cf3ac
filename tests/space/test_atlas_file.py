"""Atlases that users bring: whatever programs save, used as meant or refused in words before anything is trained."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from bids_app.errors import DatasetError, NoInputError
from bids_app.space.atlas_loaders import load_atlas, paint, regional_volumes

AFFINE = np.diag([4.0, 4, 4, 1])
AFFINE[:3, 3] = (-40, -40, -40)
GRID = nib.Nifti1Image(np.ones((20, 20, 20), np.float32), AFFINE)
LABELS = np.zeros(GRID.shape, np.int64)
for number in range(8):
    LABELS[2 * number : 2 * number + 2, 4:16] = number + 1
NAMES = [f"region {number}" for number in range(1, 9)]
TABLE = "index\tname\n" + "".join(f"{number}\t{name}\n" for number, name in enumerate(NAMES, 1))


@pytest.fixture
def atlas(tmp_path):
    def save(data=LABELS, table=TABLE, suffix=".tsv", slope=None):
        file = tmp_path / "mine.nii.gz"
        nib.save(nib.Nifti1Image(np.rint(data / slope).astype(np.int16) if slope else data, AFFINE), file)
        if slope:
            content = bytearray(gzip.decompress(file.read_bytes()))
            content[112:116] = np.float32(slope).tobytes()
            file.write_bytes(gzip.compress(bytes(content)))
        content = table if isinstance(table, bytes) else table.encode()
        (tmp_path / f"mine{suffix}").write_bytes(content)
        return file

    return save


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (LABELS.astype(np.uint8), {}),
        (LABELS.astype(np.float32), {}),
        (LABELS.astype(np.float64) - 1e-4 * (LABELS > 0), {}),
        (LABELS.astype(np.float32), {"slope": 8 / 32767}),  # as SPM saves labels of 1 to 8
        (LABELS[..., None].astype(np.int16), {}),
        (np.where(LABELS == 0, np.nan, LABELS).astype(np.float32), {}),
        (LABELS.astype(">i2"), {}),
    ],
    ids=["uint8", "float32", "a little less", "slope", "trailing axis", "nan", "big-endian"],
)
def test_labels_however_they_are_stored(atlas, data, header):
    found = load_atlas(atlas(data, **header), GRID)
    assert found.table["name"].tolist() == NAMES
    np.testing.assert_array_equal(np.asarray(found.image.dataobj), LABELS)
    np.testing.assert_allclose(regional_volumes([GRID], found)[0], [2 * 12 * 20 * 0.064] * 8)


def test_huge_labels_take_no_memory(atlas):
    data = np.where(LABELS == 8, 614454277, LABELS).astype(np.int32)
    found = load_atlas(atlas(data, TABLE.replace("8\t", "614454277\t")), GRID)
    np.testing.assert_allclose(regional_volumes([GRID], found)[0], [2 * 12 * 20 * 0.064] * 8)
    painted = paint(np.arange(1, 9), found).get_fdata()
    np.testing.assert_array_equal(painted, LABELS)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (LABELS + 0.4 * (LABELS == 3), r"not labels: 3\.4"),
        (np.where(LABELS == 3, np.inf, LABELS), "not labels: inf"),
        (np.where(LABELS == 3, -56, LABELS).astype(np.int8), "negative labels: -56"),
        (np.stack([n == LABELS for n in range(1, 9)], -1).astype(np.float32), "probability maps per region"),
        (np.where(LABELS == 3, 2**33, LABELS).astype(np.float64), "labels above"),
        (LABELS.astype(np.int32)[:, :, 0], "three dimensions"),
        (np.zeros_like(LABELS).astype(np.int16), "none of the atlas's labels"),
        ((LABELS * 1000).astype(np.int16), r"has 1000, 2000, .*the table 1, 2,"),
    ],
)
def test_images_that_are_no_labels(atlas, data, said):
    with pytest.raises(DatasetError, match=said) as caught:
        load_atlas(atlas(data.astype(np.float64) if data.dtype == np.int64 else data), GRID)
    assert caught.value.file is not None


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (TABLE.replace("3\t", "2\t"), "duplicates of the index 2"),
        (TABLE.replace("region 3", "region 2"), "duplicates of the name region 2"),
        (TABLE.replace("3\t", "x\t"), "not labels: x"),
        (TABLE.replace("3\t", "2.5\t"), "not labels: 2.5"),
        (TABLE.replace("3\t", "\t"), "not labels: n/a"),
        (TABLE.replace("region 3", ""), "no name: 3"),
        (TABLE.replace("region 3", "participant_id"), "no region can be called"),
        (TABLE.replace("index", "label"), "it has label, name"),
        (TABLE.replace("\t", " "), "not separated by tabs"),
        ("index\tname\n", "none of the atlas's labels"),
        (b"PK\x03\x04" + bytes(200), "spreadsheet"),
        ("", "is empty"),
    ],
)
def test_tables_that_do_not_say_which_is_which(atlas, table, said):
    with pytest.raises(DatasetError, match=said):
        load_atlas(atlas(table=table, data=LABELS.astype(np.int16)), GRID)


@pytest.mark.parametrize("name", ["None", "NA", "nan", "5", 'say "so"', "Größe"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "utf-16"])
def test_names_are_kept_as_they_stand(atlas, name, encoding):
    table = TABLE.replace("region 5", name).replace("index", " Index").replace("5\t", "5.0\t")
    found = load_atlas(atlas(LABELS.astype(np.int16), table.encode(encoding)), GRID)
    assert found.table["name"].tolist() == [*NAMES[:4], name, *NAMES[5:]]


@pytest.mark.parametrize("separator", [",", ";"])
def test_tables_with_other_separators(atlas, separator):
    table = TABLE.replace("\t", separator).replace("region 2", '"region 2"')
    assert load_atlas(atlas(LABELS.astype(np.int16), table, ".csv"), GRID).table["name"].tolist() == NAMES


def test_absent_and_extra_labels_are_named(atlas, told):
    table = TABLE.replace("8\tregion 8\n", "9\tnobody\n0\tbackground\n")
    found = load_atlas(atlas(LABELS.astype(np.int16), table), GRID)
    assert found.table["name"].tolist() == NAMES[:7]
    assert "no voxel of nobody" in told.text
    assert "labels without a name are not used as regions: 8" in told.text
    half = nib.Nifti1Image(np.ones((8, 20, 20), np.float32), AFFINE)
    assert load_atlas(atlas(LABELS.astype(np.int16)), half).table["name"].tolist() == NAMES[:4]
    assert "are excluded: region 5, region 6" in told.text


def test_files_without_content(tmp_path, atlas):
    file = atlas(LABELS.astype(np.int16))
    for content in (b"", b"version https://git-lfs.github.com/spec/v1\n"):
        file.write_bytes(content)
        with pytest.raises(NoInputError):
            load_atlas(file, GRID)
    file.write_bytes(b"no image" * 100)
    with pytest.raises(DatasetError, match="damaged"):
        load_atlas(file, GRID)
    file.unlink()
    file.symlink_to("nowhere")
    with pytest.raises(NoInputError, match="the link is broken"):
        load_atlas(file, GRID)
