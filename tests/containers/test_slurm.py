"""A real Slurm node runs the job templates; what comes out is what the bare installation makes."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from .conftest import (
    BIN,
    GROUP,
    PARTICIPANT,
    REPOSITORY,
    SCAN_IMAGES,
    bare,
    dataset,
    same_images,
    same_tables,
    validate,
)


@pytest.fixture(autouse=True)
def _cluster(tmp_path, monkeypatch):
    if shutil.which("sbatch") is None:
        pytest.skip("there is no Slurm")
    monkeypatch.chdir(tmp_path)  # where Slurm leaves its logs
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")


def slurm(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def submit(script: str, *arguments: object, options=()) -> str:
    """Submit a job template as it stands, but for what this small node has."""
    fits = ["--mem=3G", "--cpus-per-task=1", "--parsable"]
    return slurm("sbatch", *fits, *options, REPOSITORY / "hpc" / script, *arguments)


def state(job: str) -> str:
    """State and exit code of a job, or of a task of an array."""
    told = slurm("scontrol", "show", "job", "--oneliner", job)
    facts = dict(part.split("=", 1) for part in told.splitlines()[-1].split() if "=" in part)
    return f"{facts['JobState']} {facts['ExitCode']}"


def ended(*jobs: str, seconds: float = 600) -> list[str]:
    end = time.monotonic() + seconds
    while any(state(job).split()[0] in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING") for job in jobs):
        assert time.monotonic() < end, slurm("squeue")
        time.sleep(0.5)
    return [state(job) for job in jobs]


def places(monkeypatch, bids: Path, root: Path) -> None:
    for name, folder in {"BIDS_DIR": bids, "OUTPUT_DIR": root / "out", "WORK_DIR": root / "work"}.items():
        monkeypatch.setenv(name, str(folder))


def test_an_array_fills_one_output_and_the_group_follows(maps, tmp_path, monkeypatch):
    source = sorted(p.name for p in maps[0].glob("sub-*"))
    chosen = source[:12]
    bids = dataset(tmp_path / "maps", maps[0], *chosen)
    # One of the participants is damaged.
    broken = next((bids / chosen[2]).rglob("*.nii.gz"))
    broken.write_bytes(broken.read_bytes()[:2000])
    places(monkeypatch, bids, tmp_path)
    array = submit("participants.sbatch", "-d", bids, options=[f"--array=1-{len(chosen)}"])
    group = submit("group.sbatch", *GROUP[1:], "--latent-dim", "2", options=[f"--dependency=afterany:{array}"])
    states = ended(*(f"{array}_{n}" for n in range(1, len(chosen) + 1)), group)
    assert [s for s in states if s != "COMPLETED 0:0"] == ["FAILED 1:0"]
    assert states[2] == "FAILED 1:0"
    log = (tmp_path / f"latentatlas-{array}_3.log").read_text()
    assert f"FAILED {chosen[2]}" in log
    assert "Traceback" not in log
    validate(tmp_path / "out")
    # The same as one process makes, one participant after the other.
    code = subprocess.run([BIN / "latentatlas", bids, tmp_path / "bare", *PARTICIPANT, "-d", bids, "-w", tmp_path / "w",
                           "--participant-label", *chosen], capture_output=True).returncode  # fmt: skip
    assert code == 1
    bare(bids, tmp_path / "bare", *GROUP, "--latent-dim", "2", "-w", tmp_path / "w")
    assert same_images(tmp_path / "bare", tmp_path / "out") >= len(chosen) - 1
    assert same_tables(tmp_path / "bare", tmp_path / "out") > 5
    for name in ("dataset_description.json", "participants.tsv", "descriptions.tsv", ".bidsignore", "logs/CITATION.md"):
        assert (tmp_path / "bare" / name).read_bytes() == (tmp_path / "out" / name).read_bytes(), name
    assert list((tmp_path / "out").rglob(".writing-*")) == []


def test_a_task_that_is_killed_and_submitted_again_goes_on(scans, bare_scans, tmp_path, monkeypatch):
    places(monkeypatch, scans, tmp_path)
    job = submit("participants.sbatch", "--sloppy", "--omp-nthreads", "1", options=["--array=1"])
    steps = tmp_path / "work" / "latentatlas_participant"
    early = "*/brain_mask/result_brain_mask.pklz"

    def made(pattern):
        wait_for(lambda: list(steps.glob(pattern)), f"{job}_1")
        return next(steps.glob(pattern))

    first = made(early).stat().st_mtime_ns
    slurm("scancel", f"{job}_1")
    ended(f"{job}_1")
    # Submitted anew by hand, as the scheduler does with a task that it queues again.
    again = submit("participants.sbatch", "--sloppy", "--omp-nthreads", "1", options=["--array=1"])
    assert ended(f"{again}_1") == ["COMPLETED 0:0"]
    assert made(early).stat().st_mtime_ns == first
    alone = sorted(p.name for p in scans.glob("sub-*"))[1]
    expected = shutil.copytree(bare_scans, tmp_path / "expected")
    shutil.rmtree(expected / alone)
    assert same_images(expected, tmp_path / "out") == SCAN_IMAGES


def wait_for(condition, job: str, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, state(job)
        assert not state(job).startswith(("FAILED", "COMPLETED")), state(job)
        time.sleep(0.05)


@pytest.mark.parametrize("plugin", ["slurm", "pbs", "sge"])
def test_every_step_as_a_job_of_its_own(plugin, maps, tmp_path, monkeypatch):
    """Through Nipype's plugins. There is no PBS and no SGE here: their commands hand the script to Slurm."""
    label = sorted(p.name for p in maps[0].glob("sub-*"))[0]
    bids = dataset(tmp_path / "maps", maps[0], label)
    settings = yaml.safe_load((REPOSITORY / "hpc" / f"{plugin}.yml").read_text())
    asked = settings["plugin_args"]
    if plugin == "slurm":
        asked["sbatch_args"] = f"--mem=2G --cpus-per-task=1 -o {tmp_path}/step-%j.log"
    else:
        stand_in(tmp_path / "bin", monkeypatch)
    (tmp_path / "plugin.yml").write_text(yaml.safe_dump(settings))
    command = ["participant", "-d", bids, "--participant-label", label]
    bare(bids, tmp_path / "out", *command, "-w", tmp_path / "work", "--use-plugin", tmp_path / "plugin.yml")
    bare(bids, tmp_path / "bare", *command, "-w", tmp_path / "w")
    assert same_images(tmp_path / "bare", tmp_path / "out") >= 1
    if plugin != "slurm":
        told = (tmp_path / "bin" / "asked").read_text()
        assert asked["qsub_args"] in told
        assert told.count("-N") == 3  # adopt, write, figures


def stand_in(folder: Path, monkeypatch) -> None:
    """``qsub`` and ``qstat`` as Nipype calls them for PBS and SGE, in front of Slurm."""
    folder.mkdir()
    scripts = {
        "qsub": """
            echo "$@" >>"$STAND_IN/asked"
            id=$(sbatch --parsable --mem=2G -o /dev/null --wrap "sh ${@: -1}")
            echo "$id" >>"$STAND_IN/ids"
            case $* in *"-pe smp"*) echo "Your job $id (\\"x\\") has been submitted" ;; *) echo "$id.server" ;; esac""",
        "qstat": """
            if [ "$1" = -f ]; then
              squeue -h -j "$2" 2>/dev/null | grep . || { echo "qstat: Unknown Job Id $2" >&2; exit 153; }
            else
              echo '<job_info>'
              for id in $(cat "$STAND_IN/ids" 2>/dev/null); do
                squeue -h -j "$id" 2>/dev/null | grep -q . && state=running || state=zombie
                echo "<job_list state='$state'><JB_job_number>$id</JB_job_number><slots>1</slots></job_list>"
              done
              echo '</job_info>'
            fi""",
    }
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("STAND_IN", str(folder))
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_many_starts_at_once_into_an_empty_output(maps, tmp_path):
    """Eight processes, again and again (LATENTATLAS_REPEATS), each time into a new output."""
    labels = sorted(p.name for p in maps[0].glob("sub-*"))[:8]
    before = {}
    for n in range(int(os.environ.get("LATENTATLAS_REPEATS", "3"))):
        out = tmp_path / f"out{n}"
        # The first time with everything, later for what lies at the top alone, which is where they meet.
        command = [BIN / "latentatlas", maps[0], out, "participant", "-d", maps[0], "-w", tmp_path / "work",
                   "--boilerplate-only" if n else "--smoothing-fwhm=0", "--participant-label"]  # fmt: skip
        runs = [subprocess.Popen([*map(str, command), label], stderr=subprocess.PIPE, text=True) for label in labels]
        said = [run.communicate(timeout=600)[1] for run in runs]
        assert [run.returncode for run in runs] == [0] * len(runs), said
        if n == 0:
            validate(out)
            continue
        files = {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file() and p.suffix != ".toml"}
        assert all(files.values())
        assert files == (before or files)
        before = files
        assert len(list(out.glob("logs/*.toml"))) == len(labels)


def test_training_on_two_processes_in_a_job_of_two_tasks():
    """The launch of a training on several devices, inside ``srun``: it must not take Slurm's tasks for its own."""
    test = "processes_that_share_a_batch"
    file = REPOSITORY / "tests" / "model" / "test_model_training.py"
    if test not in file.read_text():
        pytest.skip("training starts one process")
    said = slurm("srun", "--ntasks=2", "--overcommit", BIN / "python", "-m", "pytest", file, "-k", test)
    assert said.count("1 passed") == 2
