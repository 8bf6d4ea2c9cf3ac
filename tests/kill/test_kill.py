"""``kill -9`` in every step of both levels, and a full disk: what is there is whole, the same command finishes it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_app.simulate.cli import main as simulate

pytestmark = pytest.mark.kill

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
STARTED = re.compile(r"^\d\d:\d\d:\d\d (\S+): started$")
GROUP = ["--group-column", "diagnosis", "--latent-dim", "2", "--epochs", "1", "--folds", "2", "--permutations", "50"]


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "bids_app", *map(str, arguments), "--nprocs", "1", "-v"]


def run(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(command(*arguments), env=ENVIRONMENT, capture_output=True, text=True, timeout=1200, cwd="/")


def run_until_a_new_step(known: set[str], *arguments) -> int | None:
    """Kill a run, workers and all, soon after a step begins that no earlier run began; its exit code if none does."""
    process = subprocess.Popen(
        command(*arguments), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd="/"
    )
    try:
        for line in process.stderr:
            found = STARTED.match(line.strip())
            if found and found[1] not in known:
                known.add(found[1])
                time.sleep(0.3 * (len(known) % 3))  # at its beginning, or a little into it
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return None
        return process.wait()
    finally:
        process.stderr.close()


def whole(dataset: Path) -> None:
    """Every file can be read to its end, and the validator finds no error."""
    for path in dataset.rglob("*"):
        if path.name.startswith(".writing-") or not path.is_file():
            continue
        if path.name.endswith((".nii", ".nii.gz")):
            np.asarray(nib.load(path).dataobj)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".tsv":
            pd.read_csv(path, sep="\t")
    validator = str(Path(sys.executable).with_name("bids-validator-deno"))
    done = subprocess.run([validator, "--json", str(dataset)], capture_output=True, text=True, timeout=300)
    errors = [i for i in json.loads(done.stdout)["issues"]["issues"] if i.get("severity") == "error"]
    assert errors == []


def killed_in_every_step(dataset: Path, *arguments) -> set[str]:
    known: set[str] = set()
    for _ in range(60):
        code = run_until_a_new_step(known, *arguments)
        if code is not None:
            assert code == 0
            whole(dataset)
            return known
        whole(dataset)
    raise AssertionError(f"it does not come to an end: {sorted(known)}")


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """The smallest head that goes through all steps, and its map from a run that nobody disturbs."""
    root = tmp_path_factory.mktemp("head")
    assert simulate([str(root / "bids"), "--n-participants", "1", "--seed", "3", "--quiet"]) == 0
    done = run(root / "bids", root / "quiet", "participant", "--sloppy", "-w", root / "work")
    assert done.returncode == 0, done.stderr
    return root


def a_map(output: Path) -> np.ndarray:
    (file,) = output.glob("sub-*/anat/*desc-modulated*.nii.gz")
    return np.asarray(nib.load(file).dataobj)


def test_participant_level_killed_in_every_step(head, tmp_path):
    out = tmp_path / "out"
    known = killed_in_every_step(out, head / "bids", out, "participant", "--sloppy", "-w", tmp_path / "w")
    # A scan whose outputs are written is finished: pictures that are missing are drawn with the page. That of the
    # Jacobian, a work file, is drawn before.
    steps = {"conform", "brain_mask", "bias_field", "normalise", "tissues", "modulate", "quality", "write"}
    assert {step.split(".")[-1].replace("-", "_") for step in known} >= steps
    pictures, whole_run = ({p.name for p in (o / "sub-01" / "figures").iterdir()} for o in (out, head / "quiet"))
    assert pictures == whole_run
    assert "sub-01_desc-jacobian_T1w.png" in pictures
    np.testing.assert_array_equal(a_map(out), a_map(head / "quiet"))


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    root = tmp_path_factory.mktemp("maps")
    arguments = ["--maps-only", "--n-participants", "12", "--resolution", "4", "--quiet"]
    assert simulate([str(root / "maps"), *arguments]) == 0
    return root / "maps"


def test_group_level_killed_in_every_step(maps, tmp_path):
    known = killed_in_every_step(tmp_path / "out", maps, tmp_path / "out", "group", "-w", tmp_path / "w", *GROUP)
    assert len(known) > 12
    assert (tmp_path / "out" / "group.html").exists()


@pytest.fixture
def disk(tmp_path):
    """A small file system of its own, which can be made larger."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size: str, *more: str) -> bool:
        options = ",".join([f"size={size}", *more])
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True)
        return done.returncode == 0

    if os.geteuid() or not mount("1m"):
        pytest.skip("a file system can be mounted by root alone")
    yield place, mount
    subprocess.run(["umount", "-l", str(place)], check=False)


def finished_after_a_full_disk(disk, size: str, out: Path, *arguments) -> None:
    """The disk is too small for the command, then large enough for the same command to finish."""
    _, mount = disk
    assert mount(size, "remount")
    done = run(*arguments)
    assert done.returncode in (1, 73), done.stderr
    assert "Traceback" not in done.stderr
    assert "space" in done.stderr
    assert mount("400m", "remount")
    whole(out)
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    whole(out)


def places(disk, tmp_path, what: str) -> tuple[Path, Path]:
    """Output and work folder, one of them on the disk."""
    on = disk[0]
    return (on / "out", tmp_path / "w") if what == "output" else (tmp_path / "out", on / "w")


@pytest.mark.parametrize(("what", "size"), [("output", "300k"), ("output", "1m"), ("work", "1m"), ("work", "12m")])
def test_a_full_disk(head, disk, tmp_path, what, size):
    out, work = places(disk, tmp_path, what)
    finished_after_a_full_disk(disk, size, out, head / "bids", out, "participant", "--sloppy", "-w", work)
    np.testing.assert_array_equal(a_map(out), a_map(head / "quiet"))


@pytest.mark.parametrize(("what", "size"), [("output", "200k"), ("output", "2m"), ("work", "1m"), ("work", "8m")])
def test_a_full_disk_at_group_level(maps, disk, tmp_path, what, size):
    out, work = places(disk, tmp_path, what)
    finished_after_a_full_disk(disk, size, out, maps, out, "group", "-w", work, *GROUP)
    assert (out / "group.html").exists()
