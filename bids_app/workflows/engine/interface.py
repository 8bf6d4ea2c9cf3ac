"""The one kind of Nipype interface here: a plain function from files to files, its inputs read off its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, TraitedSpec, isdefined, traits

from ... import __version__
from .failures import record_failure


class Step(SimpleInterface):  # type: ignore[misc]  # Nipype has no annotations
    """Calls its function in the node's folder and leaves word there when it fails.

    Attributes
    ----------
    function : callable
    outputs : tuple of str
        Keys of the dictionary that the function returns.
    """

    function: Callable[..., dict[str, Any]]
    outputs: tuple[str, ...]

    @classmethod
    def parameters(cls) -> dict[str, bool]:
        """Names of the inputs -> whether something has to be given for them."""
        signature = inspect.signature(cls.function).parameters
        return {n: p.default is inspect.Parameter.empty for n, p in signature.items() if n != "folder"}

    def _run_interface(self, runtime: Any) -> Any:
        folder = Path(runtime.cwd)
        given = {n: getattr(self.inputs, n) for n in self.parameters() if isdefined(getattr(self.inputs, n))}
        try:
            found = type(self).function(folder=folder, **_with_paths(self.function, given))
        except Exception as error:
            record_failure(folder, error)
            raise
        self._results = {name: paths_as_text(value) for name, value in found.items()}
        return runtime


def step(*outputs: str, always: bool = False) -> Callable[[Callable[..., dict[str, Any]]], type[Step]]:
    """Turn ``function(folder, **inputs) -> dict`` into an interface class of the same name.

    Inputs annotated as ``Path`` are files, whose change makes Nipype run the step again; ``list[Path]`` are lists of
    files; anything else is taken as it is. Inputs with a default may stay unconnected. A new version of the program
    runs every step again, and so does a step whose outputs have other names than those in the work folder.

    Parameters
    ----------
    *outputs : str
        Keys of the dictionary that the function returns.
    always : bool
        Run it again where its result lies in the work folder already.
    """

    def decorate(function: Callable[..., dict[str, Any]]) -> type[Step]:
        hints = get_type_hints(function)
        specs = {"version": traits.Str(" ".join((__version__, *outputs)), usedefault=True)}
        for name, parameter in inspect.signature(function).parameters.items():
            if name == "folder":
                continue
            mandatory = parameter.default is inspect.Parameter.empty
            # How many processors a step has does not change what it makes.
            more = {"nohash": True} if name in ("n_threads", "n_jobs") else {}
            specs[name] = _trait(hints[name], mandatory=mandatory, **more)
        name, module = function.__name__, function.__module__

        def named(attribute: str, contents: dict[str, Any]) -> dict[str, Any]:
            # Workers unpickle a class by its module and qualified name: here, an attribute of the step's class.
            return {"__module__": module, "__qualname__": f"{name}.{attribute}", **contents}

        namespace = {
            "__module__": module,
            "__qualname__": name,
            "__doc__": function.__doc__,
            "function": staticmethod(function),
            "outputs": outputs,
            "_always_run": always,
            "input_spec": type("input_spec", (BaseInterfaceInputSpec,), named("input_spec", specs)),
            "output_spec": type(
                "output_spec", (TraitedSpec,), named("output_spec", {o: traits.Any() for o in outputs})
            ),
        }
        return type(name, (Step,), namespace)

    return decorate


def paths_as_text(value: Any) -> Any:
    """Paths as text, which is what Nipype's traits take."""
    if isinstance(value, list):
        return [paths_as_text(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _trait(hint: Any, **metadata: Any) -> Any:
    if hint in (Path, Path | None):
        return File(exists=True, **metadata)
    if hint in (list[Path], list[Path] | None):
        return traits.List(File(exists=True), **metadata)
    return traits.Any(**metadata)


def _with_paths(function: Callable[..., dict[str, Any]], given: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(function)
    paths = {n: Path(v) for n, v in given.items() if hints[n] in (Path, Path | None)}
    lists = {n: [Path(i) for i in v] for n, v in given.items() if hints[n] in (list[Path], list[Path] | None)}
    return {**given, **paths, **lists}
