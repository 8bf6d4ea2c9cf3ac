"""What lab pipelines need, checked and run with their own tools."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml

from .conftest import REPOSITORY, dataset, validate

PIPELINES = REPOSITORY / "pipelines"


@pytest.fixture
def tool(monkeypatch):
    """Run one of the tools; text of what it said."""
    folder = os.environ.get("LATENTATLAS_TOOLS") or pytest.skip("LATENTATLAS_TOOLS is not set")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("PYTHONPATH", raising=False)  # theirs is another environment

    def run(*command, **more):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=900, **more)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    return run


def test_descriptors_say_what_the_command_line_says(tmp_path):
    shutil.copytree(PIPELINES, tmp_path / "pipelines")
    subprocess.run([sys.executable, tmp_path / "pipelines" / "make_descriptors.py"], check=True)
    for file in ("boutiques/latentatlas.json", "boutiques/latentatlas-plan.json", "nipoppy/descriptor.json"):
        assert (tmp_path / "pipelines" / file).read_text() == (PIPELINES / file).read_text()


@pytest.mark.parametrize("engine", ["docker"])
def test_boutiques_validates_and_launches(engine, tool, maps, tmp_path):
    if "LATENTATLAS_IMAGE" not in os.environ:
        pytest.skip("LATENTATLAS_IMAGE is not set")
    descriptor = json.loads((PIPELINES / "boutiques" / "latentatlas.json").read_text())
    descriptor["container-image"]["image"] = os.environ["LATENTATLAS_IMAGE"]
    (tmp_path / "descriptor.json").write_text(json.dumps(descriptor))
    assert "OK" in tool("bosh", "validate", "descriptor.json", cwd=tmp_path)
    label = sorted(p.name for p in maps[0].glob("sub-*"))[0]
    dataset(tmp_path / "bids", maps[0], label)
    example = json.loads((PIPELINES / "boutiques" / "participant.json").read_text())
    example |= {"participant_label": [label], "derivatives": ["bids"]}
    (tmp_path / "participant.json").write_text(json.dumps(example))
    tool("bosh", "invocation", "-i", "participant.json", "descriptor.json", cwd=tmp_path)
    tool("bosh", "exec", "launch", "--no-pull", "descriptor.json", "participant.json", cwd=tmp_path)
    assert (tmp_path / "out" / f"{label}.html").exists()
    validate(tmp_path / "out")


@pytest.mark.parametrize("engine", ["docker"])
def test_nipoppy_takes_the_pipeline(engine, tool):
    assert "all valid" in tool("nipoppy", "pipeline", "validate", PIPELINES / "nipoppy")


@pytest.fixture
def image(monkeypatch, tmp_path):
    """The Apptainer image, and a place for git and DataLad to keep their settings."""
    if "LATENTATLAS_SIF" not in os.environ or shutil.which("git-annex") is None:
        pytest.skip("there is no image, or no git-annex")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".gitconfig").write_text(
        "[user]\n\tname = A Tester\n\temail = tester@example.org\n"
        '[protocol "file"]\n\tallow = always\n[annex "security"]\n\tallowed-url-schemes = file\n'
    )
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "singularity").symlink_to(shutil.which("apptainer"))
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{tmp_path / 'bin'}")
    return os.environ["LATENTATLAS_SIF"]


def privileges() -> str:
    return "--no-privs " if os.getuid() == 0 else ""


def test_datalad_runs_the_apptainer_image_and_can_run_it_again(tool, image, maps, tmp_path):
    study = tmp_path / "study"
    tool("datalad", "create", "-c", "text2git", study)
    label = sorted(p.name for p in maps[0].glob("sub-*"))[0]
    dataset(study / "bids", maps[0], label)
    tool("datalad", "save", "-m", "input", cwd=study)
    form = f"apptainer run {privileges()}--containall --no-home -B {{{{pwd}}}} --pwd {{{{pwd}}}} {{img}} {{cmd}}"
    tool("datalad", "containers-add", "latentatlas", "--url", image, "--call-fmt", form, cwd=study)
    tool("datalad", "containers-run", "-n", "latentatlas", "-m", "Maps", "--input", "bids", "--output", "out",
         f"bids out participant --participant-label {label} -d bids -w /tmp/work", cwd=study)  # fmt: skip
    assert (study / "out" / f"{label}.html").exists()
    record = tool("git", "log", "-1", "--format=%B", cwd=study)
    assert "DATALAD RUNCMD" in record
    assert "latentatlas" in record
    first = tool("git", "ls-tree", "-r", "HEAD", "out", cwd=study)
    tool("datalad", "rerun", cwd=study)
    same = [line for line in tool("git", "ls-tree", "-r", "HEAD", "out", cwd=study).splitlines() if ".nii.gz" in line]
    assert same == [line for line in first.splitlines() if ".nii.gz" in line]


def test_babs_sets_a_project_up_with_the_apptainer_image(tool, image, scans, tmp_path, monkeypatch):
    """The run script that BABS writes is run, as a job of it would."""
    tool("datalad", "create", "-c", "text2git", tmp_path / "bids")
    shutil.copytree(scans, tmp_path / "bids", dirs_exist_ok=True)
    tool("datalad", "save", "-m", "scans", cwd=tmp_path / "bids")
    tool("datalad", "create", tmp_path / "containers")
    tool("datalad", "containers-add", "latentatlas-0-2-0", "--url", image, cwd=tmp_path / "containers")
    settings = yaml.safe_load((PIPELINES / "babs" / "latentatlas.yaml").read_text())
    settings["input_datasets"]["BIDS"]["origin_url"] = str(tmp_path / "bids")
    settings["bids_app_args"] |= {"--sloppy": "", "--omp-nthreads": "1"}
    if privileges():
        settings["singularity_args"].append(privileges().strip())
    settings["script_preamble"] = f"export PATH={os.environ['PATH']}"
    (tmp_path / "babs.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    tool("babs", "init", "--container-ds", tmp_path / "containers", "--container-name", "latentatlas-0-2-0",
         "--container-config", tmp_path / "babs.yaml", "--processing-level", "subject", "--queue", "slurm",
         tmp_path / "project")  # fmt: skip
    analysis = tmp_path / "project" / "analysis"
    label = sorted(p.name for p in scans.glob("sub-*"))[0]
    tool("datalad", "get", "inputs/data/BIDS", "containers/.datalad/environments", cwd=analysis)
    tool("bash", "code/latentatlas-0-2-0_zip.sh", label, cwd=analysis)
    held = tool("python3", "-m", "zipfile", "-l", f"{label}_latentatlas-0-2-0.zip", cwd=analysis)
    assert f"{label}.html" in held
    assert "label-GM_desc-modulated_probseg.nii.gz" in held
