"""Where and how a run is started: odd folders, odd limits, other spellings work, or one line says what to do."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import nipype.pipeline.engine as pe
import numpy as np
import pytest

from bids_app.cli import main, parse
from bids_app.errors import ConfigError, ModelError
from bids_app.model.model_files import CARD, read_card
from bids_app.workflows.engine.execute import execute
from bids_app.workflows.engine.interface import step

ROOT = Path(__file__).parents[2]


def described(folder, name="test"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset_description.json").write_text(json.dumps({"Name": name, "BIDSVersion": "1.10.0"}))
    return folder


@pytest.mark.parametrize(("typed", "said"), [("8", "did you mean 8G?"), ("16", "16G"), ("0.1G", "100 MB"), ("x", "8G")])
def test_a_limit_that_no_step_fits_in_is_refused(tmp_path, typed, said, capsys):
    with pytest.raises(SystemExit) as left:
        parse(["bids", "out", "participant", "--mem", typed])
    assert left.value.code == 2
    assert said in capsys.readouterr().err
    (tmp_path / "x.toml").write_text(f"mem = '{typed}'")
    with pytest.raises(ConfigError, match="mem"):
        parse(["bids", "out", "participant", "--config-file", str(tmp_path / "x.toml")])


@step("where")
def here(folder: Path) -> dict:
    return {"where": str(folder)}


@pytest.mark.parametrize("plugin", [None, {"plugin": "MultiProc", "plugin_args": {"n_procs": 1, "memory_gb": 1}}])
def test_a_step_that_wants_more_than_there_is_runs_alone(tmp_path, plugin):
    more = []
    if plugin:
        (tmp_path / "p.yml").write_text(json.dumps(plugin))
        more = ["--use-plugin", str(tmp_path / "p.yml")]
    config = parse([str(tmp_path), str(tmp_path / "out"), "participant", *more])
    workflow = pe.Workflow(name="greedy", base_dir=str(tmp_path))
    workflow.add_nodes([pe.Node(here(), "here", mem_gb=500, n_procs=64)])
    assert execute(workflow, config, nprocs=1, memory_gb=1.0, logs=tmp_path) == []


def test_both_spellings_of_an_option():
    hyphens = parse(["bids", "out", "participant", "--participant-label", "01", "sub-02", "--omp-nthreads=2"])
    underlines = parse(["bids", "out", "participant", "--participant_label", "01", "sub-02", "--omp_nthreads=2"])
    assert hyphens == underlines
    assert hyphens.participant_label == ("01", "02")
    assert parse(["bids", "out", "group", "--group_column", "a_b", "--covariates", "c_d"]).group_column == "a_b"


def run(arguments, **more):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more.pop("env", {})}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=120, **more
    )


def test_a_current_folder_that_is_gone(tmp_path):
    bids, lost = described(tmp_path / "bids"), tmp_path / "lost"
    lost.mkdir()
    script = (
        f"import os, sys; sys.path.insert(0, {str(ROOT)!r}); os.rmdir(os.getcwd()); from bids_app.cli import main; "
        "sys.exit(main(sys.argv[1:]))"
    )
    for arguments, code, said in (
        (["bids", str(tmp_path / "out")], 78, "current folder, which no longer exists"),
        ([str(bids), str(tmp_path / "out")], 78, "current folder, which no longer exists"),
        ([str(bids), str(tmp_path / "out"), "-w", str(tmp_path / "w")], 66, "no T1-weighted image"),
    ):
        lost.mkdir(exist_ok=True)
        done = run(["-c", script, *arguments[:2], "participant", *arguments[2:]], cwd=lost)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
        assert said in done.stderr


@pytest.mark.parametrize("length", [60, 76, 101])
def test_a_long_tmpdir_has_room_for_sockets(tmp_path, length):
    folder = tmp_path / ("x" * max(1, length - len(str(tmp_path)) - 1))
    folder.mkdir()
    script = (
        "from bids_app.workflows.engine.environment import start_workers\n"
        "from concurrent.futures import ProcessPoolExecutor\nfrom multiprocessing import get_context\n"
        "import tempfile\n"
        "if __name__ == '__main__':\n"
        "    start_workers()\n"
        "    print(ProcessPoolExecutor(1, mp_context=get_context('forkserver')).submit(abs, -3).result())\n"
        "    print(tempfile.gettempdir())\n"
    )
    (tmp_path / "script.py").write_text(script)
    done = run([str(tmp_path / "script.py")], env={"TMPDIR": str(folder)})
    assert done.stdout.split() == ["3", str(folder)], done.stderr


def test_a_backend_of_matplotlib_that_is_not_here_stops_no_worker(tmp_path):
    """Notebooks export theirs to the programs that they start."""
    script = (
        "from bids_app.workflows.engine.environment import start_workers\n"
        "from concurrent.futures import ProcessPoolExecutor\nfrom multiprocessing import get_context\n"
        "if __name__ == '__main__':\n"
        "    start_workers(['bids_app.workflows.participant.ants_imports'])\n"
        "    print(ProcessPoolExecutor(1, mp_context=get_context('forkserver')).submit(abs, -3).result())\n"
    )
    (tmp_path / "script.py").write_text(script)
    done = run([str(tmp_path / "script.py")], env={"MPLBACKEND": "module://not_here"})
    assert done.stdout.split() == ["3"], done.stderr


@pytest.mark.parametrize("work", ["", "work", "sub-01/x"])
def test_a_work_folder_inside_the_dataset_is_refused(tmp_path, work, capsys):
    bids = described(tmp_path / "bids")
    assert main([str(bids), str(tmp_path / "out"), "participant", "-w", str(bids / work)]) == 78
    assert "work folder lies inside" in capsys.readouterr().err
    assert [p.name for p in bids.iterdir()] == ["dataset_description.json"]


def test_a_dataset_that_got_another_name_is_told_what_to_do(tmp_path, capsys):
    bids, out = described(tmp_path / "bids", "before"), tmp_path / "out"
    arguments = [str(bids), str(out), "participant", "-w", str(tmp_path / "w")]
    assert main(arguments) == 66
    described(bids, "after")
    assert main(arguments) == 65
    assert "LatentAtlas derivatives of after" in capsys.readouterr().err
    file = out / "dataset_description.json"
    file.write_text(file.read_text().replace("of before", "of after"))
    assert main(arguments) == 66
    for content in ("[]", "{", '"x"'):
        file.write_text(content)
        assert main(arguments) == 65


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({"format_version": 1, "versions": {"latentatlas": "0.1.0"}}, r"without --model.*0\.1\.0"),
        ({"format_version": 1}, "not stated"),
        ({"format_version": 2}, "list its training participants"),
        ({"format_version": 2, "training": []}, "list its training participants"),
    ],
)
def test_a_model_that_does_not_fit_says_what_to_do(tmp_path, card, said):
    (tmp_path / CARD).write_text(json.dumps({"format": "latentatlas-model", **card}))
    with pytest.raises(ModelError) as caught:
        read_card(tmp_path)
    assert re.search(said, str(caught.value), re.DOTALL)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--resolution", "nan"], "above zero"),
        (["--smoothing-fwhm", "inf"], "must be a number"),
        (["-w", "x" * 300], "is not a valid path"),
        (["-d", "a\0b"], "is not a valid path"),
    ],
)
def test_values_that_mean_nothing_are_refused(options, said, capsys):
    with pytest.raises(SystemExit):
        parse(["bids", "out", "participant", *options])
    assert said in capsys.readouterr().err


def test_a_dataset_whose_name_is_too_long(tmp_path, capsys):
    assert main(["x" * 300, str(tmp_path / "out"), "participant"]) == 78
    assert "is not a valid path" in capsys.readouterr().err


@pytest.mark.parametrize("odd", ["bids", "out", "work", "link"])
def test_a_path_that_is_not_utf8_is_refused(tmp_path, odd, capsys):
    latin = os.fsencode(tmp_path) + b"/lat\xe4"
    places = {name: tmp_path / name for name in ("bids", "out", "work")}
    places["bids" if odd == "link" else odd] = Path(os.fsdecode(latin))
    described(places["bids"])
    if odd == "link":
        (tmp_path / "bids").symlink_to(latin)
        places["bids"] = tmp_path / "bids"
    assert main([str(places["bids"]), str(places["out"]), "participant", "-w", str(places["work"])]) == 78
    said = capsys.readouterr().err
    assert "a folder cannot be used" in said
    assert r"lat\xe4' cannot be written as UTF-8: rename" in said


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("dataset_description.json", "[" * 100_000, 65),
        ("plugin.yml", b"\xff\xfe{", 78),
        ("plugin.yml", "plugin: MultiProc\nplugin_args: {n_procs: x}", 78),
        ("plugin.yml", "plugin: Nope", 78),
        ("plugin.yml", "[1, 2]", 78),
    ],
)
def test_files_that_cannot_be_read_as_meant(tmp_path, name, content, code, capsys):
    bids = described(tmp_path / "bids")
    anat = bids / "sub-01" / "anat"
    anat.mkdir(parents=True)
    (anat / "sub-01_T1w.nii").write_bytes(b"no image" * 99)
    file = (bids if name.endswith("json") else tmp_path) / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    more = [] if name.endswith("json") else ["--use-plugin", str(file)]
    assert main([str(bids), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "w"), *more]) == code
    assert name in capsys.readouterr().err


def test_what_is_named_and_not_there_is_said_at_once(tmp_path, capsys):
    bids = described(tmp_path / "bids")
    common = [str(tmp_path / "out"), "-w", str(tmp_path / "w")]
    for options, code, said in (
        (["group", "--ground-truth", str(tmp_path / "none")], 66, "--ground-truth"),
        (["participant", "--model", str(tmp_path / "none")], 65, "model.json"),
        (["participant", "-d", str(tmp_path / "none")], 66, "--derivatives"),
    ):
        assert main([str(bids), common[0], options[0], *common[1:], *options[1:]]) == code
        assert said in capsys.readouterr().err


def test_help_names_the_exit_code_of_an_interrupted_run(capsys):
    with pytest.raises(SystemExit):
        parse(["--help"])
    assert "130 interrupted" in capsys.readouterr().out


def test_sigterm_ends_a_run_as_ctrl_c_does(tmp_path):
    """Schedulers send it to all processes of a job, ``timeout`` twice to the first."""
    bids, out = described(tmp_path / "bids"), tmp_path / "out"
    (bids / "sub-01" / "anat").mkdir(parents=True)
    head = nib.Nifti1Image(np.random.default_rng(0).normal(100, 20, (40, 40, 40)), np.diag([4.0, 4, 4, 1]))
    nib.save(head, bids / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    process = subprocess.Popen(
        [sys.executable, "-m", "bids_app", bids, out, "participant", "-w", tmp_path / "w", "-v"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in process.stderr:
        if "started" in line:
            break
    os.killpg(process.pid, signal.SIGTERM)
    os.kill(process.pid, signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert "interrupted; run the same command again to resume" in said
    assert "Traceback" not in said
    assert "leaked" not in said
    assert not list(tmp_path.rglob("*.lock"))


def test_nothing_that_wants_a_cache_is_imported_before_one_is_there():
    """In a container without any folder for temporary files Matplotlib ended the run at import."""
    levels = "bids_app.workflows.participant.participant_level, bids_app.workflows.group.group_level"
    code = (
        f"import sys, {levels}; print(sorted({{'matplotlib', 'ants', 'torch', 'numba', 'nipype'}} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
