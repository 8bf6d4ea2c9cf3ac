"""Images and clusters: the scans they are tried on, and what the bare installation makes of them.

``make test-container``, ``test-apptainer`` and ``test-slurm`` bring the engine up and name it in the environment. The
scans are real where LATENTATLAS_TEST_DATA names some, simulated elsewhere.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_app.simulate.cli import main as simulate

BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).resolve().parents[2]
#: One thread a step: sums of many threads come in any order.
PARTICIPANT = ["participant", "--sloppy", "--nprocs", "2", "--omp-nthreads", "1"]
GROUP = ["group", "--latent-dim", "8", "--epochs", "3", "--folds", "3", "--permutations", "200", "--nprocs", "1",
         "--device", "cpu"]  # fmt: skip


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("engine")


@pytest.fixture(autouse=True)
def _engine_can_run():
    if reason := os.environ.get("LATENTATLAS_SKIP_ENGINE"):
        pytest.skip(reason)


def dataset(root: Path, source: Path, *names: str) -> Path:
    """A dataset with some of another's participants."""
    root.mkdir()
    for file in source.iterdir():
        if file.is_file():
            shutil.copy(file, root)
    for name in names:
        shutil.copytree(source / name, root / name)
    table = root / "participants.tsv"
    rows = table.read_text().splitlines()
    table.write_text("\n".join([rows[0], *(r for r in rows[1:] if r.split("\t")[0] in names)]) + "\n")
    return root


@pytest.fixture(scope="session")
def scans(tmp_path_factory) -> Path:
    """Two T1-weighted scans."""
    folder = tmp_path_factory.mktemp("scans") / "bids"
    if data := os.environ.get("LATENTATLAS_TEST_DATA"):
        source = Path(data) / "ixi10"
        return dataset(folder, source, *sorted(p.name for p in source.glob("sub-*"))[:2])
    assert simulate([str(folder), "--n-participants", "2", "--seed", "3", "--quiet"]) == 0
    return folder


@pytest.fixture(scope="session")
def maps(tmp_path_factory) -> tuple[Path, list[str]]:
    """Grey-matter maps enough for a small group level, and the options that name their groups."""
    folder = tmp_path_factory.mktemp("maps") / "maps"
    if data := os.environ.get("LATENTATLAS_TEST_DATA"):
        source = Path(data) / "ds002748-gm"
        dataset(folder, source, *sorted(p.name for p in source.glob("sub-*")))
        return folder, ["--group-column", "group", "--covariates", "age"]
    options = ["--maps-only", "--n-participants", "24", "--resolution", "4", "--effect", "0.35", "--seed", "5"]
    assert simulate([str(folder), *options, "--quiet"]) == 0
    return folder, ["--group-column", "diagnosis", "--covariates", "age"]


def bare(*arguments: object) -> None:
    """Run the command of this installation."""
    done = subprocess.run([BIN / "latentatlas", *map(str, arguments)], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def bare_scans(scans, tmp_path_factory) -> Path:
    """What the bare installation makes of the scans."""
    root = tmp_path_factory.mktemp("bare")
    bare(scans, root / "out", *PARTICIPANT, "-w", root / "work")
    return root / "out"


@pytest.fixture(scope="session")
def bare_group(maps, tmp_path_factory) -> Path:
    """What the bare installation makes of the maps."""
    root = tmp_path_factory.mktemp("bare")
    bare(maps[0], root / "out", *GROUP, *maps[1], "-w", root / "work")
    return root / "out"


def validate(folder: Path) -> None:
    """The official validator finds no error."""
    command = [BIN / "bids-validator-deno", "--json", folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [i for i in issues if i.get("severity") == "error"] == []


#: Images that the participant level writes of one scan.
SCAN_IMAGES = 13


def same_images(a: Path, b: Path) -> int:
    """Both folders hold the same images, equal voxel by voxel; how many there are."""
    names = sorted(p.relative_to(a) for p in a.glob("sub-*/**/*.nii.gz"))
    assert names == sorted(p.relative_to(b) for p in b.glob("sub-*/**/*.nii.gz"))
    for name in names:
        first, second = nib.load(a / name), nib.load(b / name)
        np.testing.assert_array_equal(first.affine, second.affine)
        np.testing.assert_array_equal(np.asanyarray(first.dataobj), np.asanyarray(second.dataobj), err_msg=str(name))
    return len(names)


def same_tables(a: Path, b: Path) -> int:
    """Both folders hold the same tables, to the last digit; how many there are."""
    names = sorted(p.relative_to(a) for folder in ("phenotype", "group") for p in (a / folder).rglob("*.tsv"))
    assert names == sorted(p.relative_to(b) for folder in ("phenotype", "group") for p in (b / folder).rglob("*.tsv"))
    for name in names:
        assert (a / name).read_text() == (b / name).read_text(), name
    return len(names)
