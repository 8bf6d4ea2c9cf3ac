"""A graph is a tuple of steps: a parameter is the output of that name of an earlier step, else the option of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nipype.interfaces.utility as niu
import nipype.pipeline.engine as pe

from .interface import Step, paths_as_text


@dataclass(frozen=True)
class Needs:
    """What is reserved for a step: processors, and GB of memory."""

    processors: int = 1
    memory_gb: float = 2.0


@dataclass(frozen=True)
class Repeated:
    """A step that runs once per value of one of its parameters; each run is resumed and scheduled by itself.

    Its outputs are lists in the order of the values, named ``all_<output>``.

    Attributes
    ----------
    step : type of Step
    parameter : str
    values : mapping
        What a run is called -> the value it is given. Without any there are no outputs.
    """

    step: type[Step]
    parameter: str
    values: Mapping[str, Any]


Steps = Sequence[type[Step] | Repeated]


def wire(name: str, steps: Steps, options: Mapping[str, Any], needs: Callable[[type[Step]], Needs]) -> pe.Workflow:
    """Join steps into a workflow.

    Parameters
    ----------
    name : str
    steps : sequence
        Each after those whose outputs it takes.
    options : mapping
        Values of parameters that no earlier step gives. None keeps the parameter's default.
    needs : callable
        From a step to what is reserved for it.

    Raises
    ------
    TypeError
        A parameter without a default has neither output nor option, or two steps have an output of one name.
    """
    workflow, made = pe.Workflow(name=name), dict[str, tuple[pe.Node, str]]()
    for entry in steps:
        if isinstance(entry, Repeated):
            nodes = [
                _join(workflow, entry.step, run, made, {**options, entry.parameter: value}, needs)
                for run, value in entry.values.items()
            ]
            wanted = entry.step.outputs if nodes else ()
            outputs = {f"all_{output}": (_gather(workflow, nodes, output), "out") for output in wanted}
        else:
            node = _join(workflow, entry, entry.__name__, made, options, needs)
            outputs = {output: (node, output) for output in entry.outputs}
        if twice := made.keys() & outputs.keys():
            raise TypeError(f"two steps have an output named {', '.join(sorted(twice))}")
        made |= outputs
    return workflow


def _join(
    workflow: pe.Workflow,
    step: type[Step],
    name: str,
    made: Mapping[str, tuple[pe.Node, str]],
    options: Mapping[str, Any],
    needs: Callable[[type[Step]], Needs],
) -> pe.Node:
    parameters = step.parameters()
    given = {
        parameter: paths_as_text(options[parameter])
        for parameter, needed in parameters.items()
        if parameter not in made and parameter in options and (needed or options[parameter] is not None)
    }
    if missing := [p for p, needed in parameters.items() if needed and p not in made and p not in given]:
        raise TypeError(f"nothing gives the step {name} its {', '.join(missing)}")
    room = needs(step)
    node = pe.Node(step(**given), name, n_procs=room.processors, mem_gb=room.memory_gb)
    workflow.add_nodes([node])
    for parameter in parameters:
        if parameter in made:
            source, output = made[parameter]
            workflow.connect(source, output, node, parameter)
    return node


def _gather(workflow: pe.Workflow, nodes: Sequence[pe.Node], output: str) -> pe.Node:
    gather = pe.Node(niu.Merge(len(nodes)), f"all_{output}", run_without_submitting=True)
    for place, node in enumerate(nodes, start=1):
        workflow.connect(node, output, gather, f"in{place}")
    return gather
