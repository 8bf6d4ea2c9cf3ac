import json

import nibabel as nib
import numpy as np
import pytest

from bids_app.errors import DatasetError, ModelError
from bids_app.model.volumes import build_volumes, load_volumes


@pytest.fixture
def maps(write_map):
    rng = np.random.default_rng(0)
    data = np.zeros((5, 20, 22, 18), np.float32)
    data[:, 4:16, 4:18, 4:14] = rng.uniform(0.3, 0.9, (5, 12, 14, 10))
    return data, [write_map(f"good-{i}", d) for i, d in enumerate(data)]


def test_bad_maps_are_named_and_left_out(maps, write_map, tmp_path):
    data, good = maps
    holed, moved = data[0].copy(), np.diag([4.0, 4, 4, 1])
    holed[5, 5, 5], moved[0, 3] = np.nan, 7
    torn = tmp_path / "torn.nii.gz"
    torn.write_bytes(good[0].read_bytes()[:300])
    bad = {
        write_map("nan", holed): "not finite",
        write_map("empty", data[0] * 0): "empty",
        write_map("flat", data[0] * 0 + 1): "same value",
        write_map("moved", data[0], moved): "grid",
        write_map("small", data[0, :-1]): "grid",
        write_map("series", np.stack([data[0]] * 2, -1)): "grid",
        torn: "cannot be read",
        tmp_path / "missing.nii.gz": "cannot be read",
    }
    bad_paths = list(bad)
    paths = [good[0], *bad_paths[:4], good[1], *bad_paths[4:], *good[2:]]
    volumes = build_volumes(paths, tmp_path / "v.npy", fwhm=0)
    assert volumes.paths == [str(p) for p in good]
    assert [p for p, _ in volumes.rejected] == [str(p) for p in bad_paths]
    for (_, reason), word in zip(volumes.rejected, bad.values(), strict=True):
        assert word in reason
    assert np.allclose(volumes.rows([3])[0], data[3][volumes.grid.mask], atol=5e-4)


def test_mask_is_the_mean_maps_or_the_one_given(maps, tmp_path):
    data, paths = maps
    volumes = build_volumes(paths, tmp_path / "v.npy", fwhm=0)
    assert np.array_equal(volumes.grid.mask, data.mean(0) > 0.1)
    mask = np.zeros(data.shape[1:], np.uint8)
    mask[6:12, 6:12, 6:12] = 1
    given = build_volumes(paths, tmp_path / "w.npy", fwhm=0, mask=nib.Nifti1Image(mask, np.diag([4.0, 4, 4, 1])))
    assert np.array_equal(given.grid.mask, mask > 0)
    with pytest.raises(ModelError, match="mask does not fit"):
        build_volumes(paths, tmp_path / "x.npy", mask=nib.Nifti1Image(mask, np.eye(4)))


def test_parallel_reading_changes_nothing(maps, tmp_path):
    _, paths = maps
    one = build_volumes(paths, tmp_path / "one.npy", fwhm=8)
    two = build_volumes(paths, tmp_path / "two.npy", fwhm=8, n_jobs=2)
    assert np.array_equal(one.data, two.data)
    assert np.allclose(one.mean([0, 2, 3]), one.rows([0, 2, 3]).mean(0), atol=1e-6)
    assert {p.name for p in tmp_path.glob("one*")} == {"one.npy", "one.json", "one.mask.npy"}


def test_nothing_usable_is_an_error(maps, write_map, tmp_path):
    data, paths = maps
    with pytest.raises(DatasetError, match="Only 1 of 2"):
        build_volumes([paths[0], write_map("empty", data[0] * 0)], tmp_path / "v.npy")
    with pytest.raises(DatasetError, match="None of the 1"):
        build_volumes([tmp_path / "missing.nii.gz"], tmp_path / "v.npy")


def test_damaged_volumes_are_refused(maps, tmp_path):
    _, paths = maps
    build_volumes(paths, tmp_path / "v.npy", fwhm=0)
    record = json.loads((tmp_path / "v.json").read_text())
    (tmp_path / "v.json").write_text(json.dumps({**record, "paths": record["paths"][:-1]}))
    with pytest.raises(ModelError, match="shape"):
        load_volumes(tmp_path / "v.npy")
    (tmp_path / "v.npy").write_bytes((tmp_path / "v.npy").read_bytes()[:500])
    with pytest.raises(ModelError):
        load_volumes(tmp_path / "v.npy")
