"""Steps joined by the names of their parameters."""

from pathlib import Path

import pytest

from bids_app.cli import parse
from bids_app.workflows.engine.environment import prepare
from bids_app.workflows.engine.execute import execute
from bids_app.workflows.engine.interface import step
from bids_app.workflows.engine.wiring import Needs, Repeated, wire


@step("letters")
def write(folder: Path, text: str) -> dict:
    """A file of one's own words."""
    (folder / "letters.txt").write_text(text)
    return {"letters": folder / "letters.txt"}


@step("cut", "length")
def cut(folder: Path, letters: Path, number: int, fill: str = "-") -> dict:
    """The first letters of a file."""
    (folder / "cut.txt").write_text(letters.read_text()[:number].ljust(number, fill))
    return {"cut": folder / "cut.txt", "length": number}


@step("joined")
def join(folder: Path, all_cut: list[Path], all_length: list, missing: str | None = None) -> dict:
    """All of them."""
    return {"joined": [path.read_text() for path in all_cut] + all_length + [missing]}


@step("letters")
def write_again(folder: Path, text: str) -> dict:
    """Another step with an output of the same name."""
    return {"letters": folder / "letters.txt"}


THREE = Repeated(cut, "number", {"all_of_it": 5, "two": 2, "three": 3})


def small(kind):
    return Needs(1, 0.1)


def test_outputs_go_to_the_parameters_of_their_names_and_options_to_the_others(tmp_path):
    config = parse([str(tmp_path / "bids"), str(tmp_path / "out"), "participant"])
    prepare(config, 1)
    options = {"text": "abcd", "letters": "an output comes before an option", "fill": "+", "unused": object()}
    workflow = wire("wf", (write, THREE, join), options, small)
    workflow.base_dir = str(tmp_path / "work")
    finished: dict = {}
    assert execute(workflow, config, nprocs=1, memory_gb=1, logs=tmp_path, finished=finished) == []
    assert finished["join"].output("joined") == ["abcd+", "ab", "abc", 5, 2, 3, None]
    assert {"all_of_it", "two", "three"} <= set(finished)


def test_an_option_that_is_none_leaves_the_default():
    node = wire("wf", (write, cut), {"text": "x", "number": 1, "fill": None}, small).get_node("cut")
    assert "fill" not in node.interface.inputs.get_traitsfree()


def test_a_step_that_is_repeated_for_nothing_leaves_defaults():
    @step("count")
    def count(folder: Path, all_cut: list[Path] | None = None) -> dict:
        """How many there are."""
        return {"count": len(all_cut or ())}

    workflow = wire("wf", (write, Repeated(cut, "number", {}), count), {"text": "x"}, small)
    assert sorted(workflow.list_node_names()) == ["count", "write"]


def test_what_is_reserved_follows_the_step():
    workflow = wire("wf", (write,), {"text": "x"}, lambda kind: Needs(3, 1.5) if kind is write else Needs())
    assert (workflow.get_node("write").n_procs, workflow.get_node("write").mem_gb) == (3, 1.5)


@pytest.mark.parametrize(
    ("steps", "options", "said"),
    [
        ((write, cut), {"text": "x"}, "step cut its number"),
        ((cut, write), {"text": "x", "number": 1}, "step cut its letters"),  # before what it reads
        ((write, write_again), {"text": "x"}, "two steps have an output named letters"),
    ],
)
def test_a_graph_that_cannot_be_joined_is_refused_when_it_is_built(steps, options, said):
    with pytest.raises(TypeError, match=said):
        wire("wf", steps, options, small)
