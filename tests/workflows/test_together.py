"""Runs beside each other: into one output, on one participant, and after a run that was killed."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from bids_app.bids.dataset import write_dataset_files
from bids_app.bids.participants import copy_participants
from bids_app.cli import main
from bids_app.config import make_config
from bids_app.simulate.cli import main as simulate
from bids_app.workflows.engine.locks import claim
from bids_app.workflows.methods_text import write_citation

HOLD = """
import sys, time
from pathlib import Path
from bids_app.workflows.engine.locks import claim
with claim(sys.argv[2:], [Path(sys.argv[1])]) as taken:
    print("taken:", *taken, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that works on sub-01."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out" / "logs" / "locks"), "sub-01"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "taken:\n"
        yield process
        process.kill()


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort") / "maps"
    assert (
        simulate([str(folder), "--maps-only", "--n-participants", "2", "--resolution", "4", "--seed", "1", "--quiet"])
        == 0
    )
    return folder


def adopt(maps: Path, root: Path) -> int:
    command = [maps, root / "out", "participant", "--participant-label", "01", "02", "-d", maps, "-w", root / "work"]
    return main([str(c) for c in command])


def test_of_two_runs_on_a_participant_the_second_says_why_and_does_the_others(maps, tmp_path, holder, capsys):
    assert adopt(maps, tmp_path) == 1
    message = capsys.readouterr().err
    assert "another run is working on sub-01" in message
    assert f"process {holder.pid}" in message
    assert "Traceback" not in message
    assert not (tmp_path / "out" / "sub-01").exists()
    assert (tmp_path / "out" / "sub-02.html").exists()
    # However the other ends, its lock ends with it.
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert adopt(maps, tmp_path) == 0
    assert (tmp_path / "out" / "sub-01.html").exists()
    assert not list((tmp_path / "out" / "logs" / "locks").glob("sub-*"))


def test_a_second_group_analysis_is_refused(maps, tmp_path, capsys):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out" / "logs" / "locks"), "group"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        assert main([str(maps), str(tmp_path / "out"), "group", "-w", str(tmp_path / "work")]) == 73
        process.kill()
    assert "another run is working on the group level" in capsys.readouterr().err


def _count(gate, folder: Path, rounds: int) -> None:
    """Adds one to a number in a file, which goes wrong unless one process does it at a time."""
    gate.wait(60)
    done = 0
    while done < rounds:
        with claim(["number"], [folder / "locks"]) as taken:
            if not taken:
                number = int((folder / "number").read_text())
                time.sleep(0.002)
                (folder / "number").write_text(str(number + 1))
                done += 1


def test_what_is_claimed_belongs_to_one_process_at_a_time(tmp_path):
    (tmp_path / "number").write_text("0")
    together(_count, [(tmp_path, 25)] * 4)
    assert int((tmp_path / "number").read_text()) == 100


def _begin_a_run(bids: Path, output: Path, label: str) -> None:
    """What every job writes at the top of the output, and a sidecar of its own that the methods text counts."""
    write_dataset_files(bids, output, json.loads((bids / "dataset_description.json").read_text()))
    anat = output / f"sub-{label}" / "anat"
    anat.mkdir(parents=True)
    (anat / f"sub-{label}_space-X_res-2_label-GM_desc-modulated_probseg.json").write_text("{}")
    copy_participants(bids, output)
    write_citation(make_config({"bids_dir": bids, "output_dir": output, "analysis_level": "participant"}, {}))


def test_jobs_that_start_together_leave_what_one_alone_leaves(maps, tmp_path):
    labels = [f"{n:02d}" for n in range(1, 9)]
    for label in labels:
        _begin_a_run(maps, tmp_path / "alone", label)
    outputs = [tmp_path / str(n) for n in range(10)]
    together(_begin_runs, [(maps, outputs, label) for label in labels])
    for output in outputs:
        assert tree(output) == tree(tmp_path / "alone")


def _begin_runs(gate, bids: Path, outputs: list[Path], label: str) -> None:
    for output in outputs:
        gate.wait(60)
        _begin_a_run(bids, output, label)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def together(function, arguments) -> None:
    """Call a function in processes of its own, each given a barrier at which they wait for each other."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["bids_app.reports.boilerplate", "bids_app.workflows.methods_text"])
    gate = context.Barrier(len(arguments))
    processes = [context.Process(target=function, args=(gate, *a)) for a in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [p.exitcode for p in processes] == [0] * len(processes)


def test_a_killed_run_leaves_no_worker_behind(tmp_path):
    """The run after it must find nobody at its steps: its workers end within seconds, even in the midst of a step."""
    script = """
import os, sys, time
from pathlib import Path
import nipype.pipeline.engine as pe
from nipype.interfaces.utility import Function
from bids_app.workflows.engine.plugin import SturdyMultiProc

def wait(file):
    import os, time
    open(file, "w").write(str(os.getpid()))
    time.sleep(60)

if __name__ == "__main__":
    workflow = pe.Workflow("w", base_dir=sys.argv[1])
    workflow.add_nodes([pe.Node(Function(input_names=["file"], output_names=[], function=wait), "wait")])
    workflow.get_node("wait").inputs.file = sys.argv[1] + "/pid"
    workflow.run(plugin=SturdyMultiProc({"n_procs": 1}))
"""
    (tmp_path / "script.py").write_text(script)
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), str(tmp_path)], stderr=subprocess.DEVNULL
    ) as run:
        wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 60)
        worker = int((tmp_path / "pid").read_text())
        run.kill()
    wait_for(lambda: not running(worker), 10)


def test_a_scan_begun_is_finished_before_others_begin(tmp_path):
    script = """
import sys
import nipype.pipeline.engine as pe
from nipype.interfaces.utility import Function
from bids_app.workflows.engine.plugin import SturdyMultiProc

def note(file, word):
    with open(file, "a") as stream:
        stream.write(word + " ")
    return file

def step(name):
    node = pe.Node(Function(input_names=["file", "word"], output_names=["file"], function=note), name)
    node.inputs.file, node.inputs.word = sys.argv[1] + "/log", name
    return node

if __name__ == "__main__":
    workflow = pe.Workflow("w", base_dir=sys.argv[1])
    for scan in "abc":
        branch = pe.Workflow(scan)
        steps = [step(scan + number) for number in "123"]
        for before, after in zip(steps, steps[1:]):
            branch.connect(before, "file", after, "file")
        workflow.add_nodes([branch])
    workflow.run(plugin=SturdyMultiProc({"n_procs": 1}))
"""
    (tmp_path / "script.py").write_text(script)
    subprocess.run([sys.executable, str(tmp_path / "script.py"), str(tmp_path)], check=True, capture_output=True)
    scans = [step[0] for step in (tmp_path / "log").read_text().split()]
    assert sorted(scans) == list("aaabbbccc")
    assert len(list(itertools.groupby(scans))) == 3, scans


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (OSError, FileNotFoundError):
        return False


def wait_for(condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
