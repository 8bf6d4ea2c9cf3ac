"""Memory reserved for the steps of a scan."""

import nibabel as nib
import numpy as np
import pytest

from bids_app.bids.query import Scan
from bids_app.cli import parse
from bids_app.schema.segmenters import SEGMENTERS_BY_NAME
from bids_app.workflows.participant.memory import MEMORY, USUAL_VOXELS, count_voxels, step_memory_gb
from bids_app.workflows.participant.participant_level import space_labels
from bids_app.workflows.participant.scan_graph import init_scan_wf

FINE = 114_100_000  # a head at 0.45 mm


def saved(path, shape):
    nib.save(nib.Nifti1Image(np.zeros(shape, np.uint8), np.eye(4)), path)
    return path


def test_voxels_are_read_from_the_header(tmp_path):
    assert count_voxels(saved(tmp_path / "scan.nii.gz", (40, 50, 60))) == 120_000
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"no image")
    assert count_voxels(broken) == USUAL_VOXELS
    assert count_voxels(tmp_path / "missing.nii.gz") == USUAL_VOXELS


@pytest.mark.parametrize(
    ("step", "peaks"),
    [  # GB of processes that did nothing else, at 10.5 and 114 million voxels
        ("conform", (0.24, 1.24)),
        ("brain_mask", (1.20, 3.55)),
        ("bias_field", (0.41, 1.83)),
        ("normalise", (0.93, 2.86)),
        ("tissues", (0.78, 3.79)),
        ("modulate", (0.89, 2.35)),
        ("quality", (0.65, 3.54)),
        ("write", (0.15, 0.86)),
        ("figures", (0.67, 2.77)),
    ],
)
def test_what_is_reserved_covers_what_was_measured(step, peaks):
    for voxels, peak in zip((10_500_000, FINE), peaks, strict=True):
        assert peak < step_memory_gb(step, voxels) < 1.4 * peak + 0.8
    assert step_memory_gb(step, FINE) <= 4


def test_atropos_is_given_what_it_takes(tmp_path):
    # GB of processes that did nothing else, at 1.3 and 10.4 million voxels
    for voxels, peak in ((1_296_000, 0.588), (10_368_000, 1.365)):
        assert peak < step_memory_gb("tissues", voxels, SEGMENTERS_BY_NAME["atropos"].memory) < 1.4 * peak + 0.8
    scan = Scan(saved(tmp_path / "sub-01_T1w.nii.gz", (216, 240, 200)), "01")

    def tissues(engine):
        config = parse([str(tmp_path), str(tmp_path / "out"), "participant", "--segmentation", engine])
        graph = init_scan_wf(config, scan, labels=space_labels(config), n_threads=2)
        return graph.get_node("tissues")

    assert tissues("mixture").mem_gb == step_memory_gb("tissues", 10_368_000)
    assert tissues("atropos").mem_gb == step_memory_gb("tissues", 10_368_000, SEGMENTERS_BY_NAME["atropos"].memory)
    assert (tissues("mixture").n_procs, tissues("atropos").n_procs) == (1, 2)


def test_the_graph_reserves_by_the_scan(tmp_path):
    raw = tmp_path / "bids" / "sub-01" / "anat"
    raw.mkdir(parents=True)
    config = parse([str(tmp_path / "bids"), str(tmp_path / "out"), "participant"])

    def reserved(name, shape):
        scan = Scan(saved(raw / name, shape), "01")
        graph = init_scan_wf(config, scan, labels=space_labels(config), n_threads=1)
        return {step: graph.get_node(step).mem_gb for step in MEMORY}

    small, large = (reserved(f"sub-01_run-{i}_T1w.nii.gz", (100, 100, n)) for i, n in ((1, 100), (2, 1000)))
    for step, (_, each) in MEMORY.items():
        assert large[step] - small[step] == pytest.approx(each * 9e6 / 1e9, abs=0.011)
