"""Steps: plain functions as Nipype interfaces, whose failures are told in words and stop nobody else."""

import dataclasses
import errno
import os
import pickle
import signal
from pathlib import Path

import nipype.pipeline.engine as pe
import pytest

from bids_app.cli import parse
from bids_app.errors import ScanError
from bids_app.workflows.engine.environment import prepare
from bids_app.workflows.engine.execute import execute
from bids_app.workflows.engine.failures import FAILURE_FILE, read_failure, record_failure
from bids_app.workflows.engine.interface import step


@step("text", "count")
def upper(folder: Path, source: Path, times: int = 1, more: list[Path] | None = None) -> dict:
    """Write a file in capitals."""
    target = folder / "upper.txt"
    target.write_text(source.read_text().upper() * times + "".join(p.read_text() for p in more or []))
    return {"text": target, "count": times}


@step("text")
def copy(folder: Path, source: Path) -> dict:
    """What an earlier state of the program had in place of `measure`."""
    return {"text": source.read_text()}


@step("text", "size")
def measure(folder: Path, source: Path) -> dict:
    """Also give the size."""
    return {"text": source.read_text(), "size": source.stat().st_size}


@step("nothing")
def refuse(folder: Path, source: Path) -> dict:
    """Always fail, as on a bad scan."""
    raise ScanError("the scan is upside down", file=source, remedy="turn it")


@pytest.fixture
def config(tmp_path):
    config = parse([str(tmp_path / "bids"), str(tmp_path / "out"), "participant"])
    prepare(config, 1)
    return config


def test_a_step_is_found_again_by_another_process():
    node = pe.Node(upper(times=2), name="n")
    again = pickle.loads(pickle.dumps(node))
    assert isinstance(again.interface, upper)
    assert again.inputs.times == 2


def test_files_go_in_and_out(tmp_path):
    source = tmp_path / "a.txt"
    source.write_text("abc")
    outputs = pe.Node(upper(source=str(source), times=2, more=[str(source)]), "n", base_dir=tmp_path).run().outputs
    assert Path(outputs.text).read_text() == "ABCABCabc"
    assert outputs.count == 2


def test_a_failed_branch_leaves_the_others_and_says_why(tmp_path, config):
    source = tmp_path / "a.txt"
    source.write_text("abc")
    workflow = pe.Workflow("wf", base_dir=tmp_path / "work")
    good, bad = pe.Workflow("sub_01"), pe.Workflow("sub_02")
    good.add_nodes([pe.Node(upper(source=str(source)), "upper")])
    first, after = pe.Node(refuse(source=str(source)), "refuse"), pe.Node(upper(), "upper")
    bad.connect(first, "nothing", after, "source")
    workflow.add_nodes([good, bad])
    done: dict = {}
    failures = execute(workflow, config, nprocs=2, memory_gb=2, logs=tmp_path / "logs", finished=done)
    assert [(f.where, f.step) for f in failures] == [("sub-02", "refuse")]
    assert "upside down" in failures[0].message
    assert str(source) in failures[0].message
    assert (tmp_path / "work/wf/sub_01/upper/upper.txt").read_text() == "ABC"
    assert set(done) == {"sub_01.upper"}
    assert done["sub_01.upper"].output("text").endswith("sub_01/upper/upper.txt")
    assert done["sub_01.upper"].output("count") == 1


def test_the_resource_monitor_keeps_a_record_of_every_step(tmp_path, config):
    source = tmp_path / "a.txt"
    source.write_text("abc")
    for name, watched in (("plain", False), ("watched", True)):
        workflow = pe.Workflow(name, base_dir=tmp_path / "work")
        workflow.add_nodes([pe.Node(upper(source=str(source)), "upper")])
        asked = dataclasses.replace(config, resource_monitor=watched)
        assert execute(workflow, asked, nprocs=1, memory_gb=1, logs=tmp_path / "logs") == []
        record = (tmp_path / "work" / name / "upper" / "_report" / "report.rst").read_text()
        assert ("mem_peak_gb" in record) == watched


def test_a_finished_step_is_not_run_again_until_its_input_changes(tmp_path, config):
    source = tmp_path / "a.txt"
    source.write_text("abc")
    written = tmp_path / "work/wf/upper/upper.txt"

    def run():
        workflow = pe.Workflow("wf", base_dir=tmp_path / "work")
        workflow.add_nodes([pe.Node(upper(source=str(source)), "upper")])
        assert execute(workflow, config, nprocs=1, memory_gb=1, logs=tmp_path / "logs") == []
        return written.stat().st_mtime_ns

    first = run()
    assert run() == first
    source.write_text("something else")
    assert run() != first
    assert written.read_text() == "SOMETHING ELSE"


def test_a_step_that_has_learnt_another_output_is_run_again(tmp_path):
    source = tmp_path / "a.txt"
    source.write_text("abc")
    for kind in (copy, measure):
        node = pe.Node(kind(source=str(source)), "n", base_dir=tmp_path / "work")
        node.run()
    assert node.get_output("size") == 3


@step("nothing")
def die(folder: Path, source: Path) -> dict:
    """End as a process does that the system kills."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_fails_its_own_step_only(tmp_path, config):
    source = tmp_path / "a.txt"
    source.write_text("abc")
    workflow = pe.Workflow("wf", base_dir=tmp_path / "work")
    doomed, good = pe.Workflow("sub_01"), pe.Workflow("sub_02")
    doomed.add_nodes([pe.Node(die(source=str(source)), "die")])
    first, second = pe.Node(upper(source=str(source)), "first"), pe.Node(upper(), "second")
    good.connect(first, "text", second, "source")
    workflow.add_nodes([doomed, good])
    failures = execute(workflow, config, nprocs=2, memory_gb=2, logs=tmp_path / "logs")
    assert [(f.where, f.step) for f in failures] == [("sub-01", "die")]
    assert "memory" in failures[0].message
    assert (tmp_path / "work/wf/sub_02/second/upper.txt").exists()


def test_a_full_disk_is_named_where_not_even_a_message_fits(tmp_path):
    word = tmp_path / FAILURE_FILE
    word.symlink_to("/dev/full")  # as on a full disk, writing to it fails
    record_failure(tmp_path, ValueError("the array has another shape"))
    word.unlink()
    word.touch()  # what a full disk leaves of it
    assert "space left" in read_failure(word)
    assert "make room" in read_failure(word)


def test_a_disk_that_is_full_for_this_step_alone_is_named(tmp_path):
    """There is room, but not for a file as large as the one it asked for."""
    record_failure(tmp_path, OSError(errno.ENOSPC, "No space left on device", "volumes.npy"))
    message = read_failure(tmp_path / FAILURE_FILE)
    assert "volumes.npy" in message
    assert message.count("what to do") == 1
    assert "make room" in message
