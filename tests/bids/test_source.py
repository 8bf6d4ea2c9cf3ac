"""A file changed in place is another file; a copy of it is not."""

import os
import time

import nibabel as nib
import numpy as np
import pytest

from bids_app.bids import source
from bids_app.bids.anat import finished, output_path, read_sidecar
from bids_app.bids.files import sidecar_path, write_json
from bids_app.bids.query import Scan
from bids_app.bids.source import describe_source, hash_content, unchanged


@pytest.fixture(params=["scan.nii", "scan.nii.gz"])
def scan(request, tmp_path):
    path = tmp_path / request.param
    image = nib.Nifti1Image(np.random.default_rng(0).integers(0, 100, (20, 20, 20)).astype(np.int16), np.eye(4))
    nib.save(image, path)
    return path


def told(path):
    return {**describe_source(path), "SHA256": hash_content(path)}


def test_the_header_mended_in_place_with_its_time_kept(scan):
    before, found = told(scan), scan.stat()
    image = nib.load(scan)
    image = nib.Nifti1Image(np.array(image.dataobj), np.diag([-1.0, 1, 1, 1]))
    nib.save(image, scan)
    os.utime(scan, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert not unchanged(scan, before)


def test_values_changed_in_place(scan):
    before = told(scan)
    content = bytearray(scan.read_bytes())
    content[-40] ^= 1
    scan.write_bytes(bytes(content))
    assert not unchanged(scan, before)


def test_a_copy_with_another_time_is_the_same_and_read_once(scan, tmp_path, monkeypatch):
    before = told(scan)
    os.utime(scan)
    assert unchanged(scan, before)
    here = Scan(scan, "01")
    target = output_path(tmp_path / "out", here, "gm_std", template="T", res="2")
    target.parent.mkdir(parents=True)
    target.touch()
    write_json(target.with_name(target.name.replace(".nii.gz", ".json")), {"Fingerprint": "f", "SourceFile": before})
    labels = {"template": "T", "res": "2"}
    assert finished(tmp_path / "out", here, ["gm_std"], "f", **labels)
    assert read_sidecar(target)["SourceFile"]["Time"] == scan.stat().st_mtime_ns
    monkeypatch.setattr(source, "hash_content", None)  # the next run reads no content
    assert finished(tmp_path / "out", here, ["gm_std"], "f", **labels)
    assert not finished(tmp_path / "out", here, ["gm_std"], "other", **labels)
    # Another run has put its own images in the scan's space beside this map.
    native = output_path(tmp_path / "out", here, "gm")
    native.touch()
    for made, whole in (("f", True), ("other", False), (None, True)):
        write_json(sidecar_path(native), {} if made is None else {"Fingerprint": made})
        assert finished(tmp_path / "out", here, ["gm", "gm_std"], "f", **labels) is whole


def test_a_thousand_finished_scans_are_looked_at_within_seconds(scan):
    known, start = told(scan), time.monotonic()
    for _ in range(1000):
        assert unchanged(scan, known)
    assert time.monotonic() - start < 5


def test_damage_is_no_error_here(tmp_path):
    for name, content in (("a.nii.gz", b"no gzip"), ("b.nii.gz", b"\x1f\x8b\x08\0" + b"\xff" * 50), ("c.nii", b"x")):
        (tmp_path / name).write_bytes(content)
        assert unchanged(tmp_path / name, told(tmp_path / name))
