"""Every message of :mod:`bids_app.errors`, read from the source, with its cause (``causes.yml``) and its remedy.

*…* stands for what depends on the case. A message or a remedy that is chosen among several in the code is all of them.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

DOCS = Path(__file__).parent
PACKAGE = DOCS.parent / "bids_app"
FAILED = "Unusable"  # what is told as FAILED before anything runs


@dataclass(frozen=True)
class Message:
    """A message that the program can give.

    Attributes
    ----------
    text : str
        What is wrong.
    kind : str
        The error, by which the exit code goes.
    remedy : str
        What the program advises; empty where it does not.
    """

    text: str
    kind: str
    remedy: str

    def matches(self, problem: str) -> bool:
        """Whether a message of a run is this one."""
        return re.fullmatch(".+".join(map(re.escape, self.text.split("…"))), " ".join(problem.split())) is not None


def error_codes() -> dict[str, int]:
    """Name of an error -> exit code."""
    from bids_app import errors

    kinds = (kind for kind in vars(errors).values() if isinstance(kind, type))
    return {kind.__name__: kind.exit_code for kind in kinds if issubclass(kind, errors.LatentAtlasError)}


def declared() -> list[Message]:
    """All messages in the source, each once, by kind and text."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = _assigned(tree.body)
        for scope, call in _calls(tree):
            known = {**constants, **_assigned(list(ast.walk(scope)))} if scope else constants
            for text, kind, remedies in _messages(call, known):
                kept = found.setdefault((kind, text), [])
                kept += [remedy for remedy in remedies if remedy and remedy not in kept]
    return [Message(text, kind, "; or: ".join(remedies)) for (kind, text), remedies in sorted(found.items())]


def causes() -> dict[str, dict[str, dict[str, str]]]:
    """Topic -> message -> ``why``, and ``do`` where the program's own advice depends on the case or is none."""
    return yaml.safe_load((DOCS / "causes.yml").read_text(encoding="utf-8"))


def topics() -> Iterator[tuple[str, list[tuple[Message, str, str]]]]:
    """Topic, and the messages of it with cause and remedy."""
    by_text: dict[str, list[Message]] = {}
    for message in declared():
        by_text.setdefault(message.text, []).append(message)
    for topic, entries in causes().items():
        rows = [
            (m, entry["why"], entry.get("do") or m.remedy) for text, entry in entries.items() for m in by_text[text]
        ]
        yield topic, rows


def troubleshooting_part() -> str:
    """The generated part of ``troubleshooting.md``."""
    codes, lines = {**error_codes(), FAILED: 1}, []
    for topic, rows in topics():
        lines += [f"### {topic}", "", "| message | exit code | why | what to do |", "|---|---|---|---|"]
        lines += [f"| {_cell(m.text)} | {codes[m.kind]} | {_cell(why)} | {_cell(do)} |" for m, why, do in rows]
        lines.append("")
    return "\n".join(lines).rstrip()


def _calls(tree: ast.Module) -> Iterator[tuple[ast.AST | None, ast.Call]]:
    """Calls that make an error, each with the innermost function that it stands in."""
    wanted = {*error_codes(), FAILED}

    def walk(node: ast.AST, scope: ast.AST | None) -> Iterator[tuple[ast.AST | None, ast.Call]]:
        for child in ast.iter_child_nodes(node):
            inner = child if isinstance(child, ast.FunctionDef) else scope
            if isinstance(child, ast.Call) and isinstance(child.func, ast.Name) and child.func.id in wanted:
                yield scope, child
            yield from walk(child, inner)

    yield from walk(tree, None)


def _assigned(nodes: list[ast.stmt] | list[ast.AST]) -> dict[str, list[ast.expr]]:
    """Names that are given a text -> all texts that they are given."""
    found: dict[str, list[ast.expr]] = {}
    for node in nodes:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if len(targets) == 1 and isinstance(targets[0], ast.Name) and isinstance(node.value, ast.expr):
            found.setdefault(targets[0].id, []).append(node.value)
    return found


def _messages(call: ast.Call, known: dict[str, list[ast.expr]]) -> Iterator[tuple[str, str, list[str]]]:
    kind = call.func.id
    given = {word.arg: word.value for word in call.keywords}
    if kind == FAILED:
        for text in _texts(call.args[1], known) if len(call.args) > 1 else ():
            problem, _, remedy = text.partition("what to do:")
            problem = re.sub(r"\s*file: \S+\s*$|:?\s*…\s*$", "", problem.rstrip()).strip()
            if problem.strip("… "):
                yield " ".join(problem.split()), kind, [" ".join(remedy.split())]
        return
    remedies = _texts(given["remedy"], known) if "remedy" in given else [""]
    for text in _texts(call.args[0], known) if call.args else ():
        text = " ".join(text.split())
        if text.strip("… "):
            yield text, kind, [" ".join(remedy.split()) for remedy in remedies if remedy.strip("… ")]


def _texts(node: ast.expr | None, known: dict[str, list[ast.expr]], depth: int = 0) -> list[str]:
    """All texts that an expression can be, with *…* for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        parts = [_texts(p.value if isinstance(p, ast.FormattedValue) else p, known, depth + 1) for p in node.values]
        parts = [found if len(found) <= 3 else ["…"] for found in parts]
        return [re.sub("…+", "…", "".join(choice)) for choice in itertools.product(*parts)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        sides = _texts(node.left, known, depth), _texts(node.right, known, depth)
        return ["".join(choice) for choice in itertools.product(*sides)]
    if isinstance(node, ast.IfExp):
        return [text for side in (node.body, node.orelse) for text in _texts(side, known, depth)]
    if isinstance(node, ast.Name) and node.id in known and depth < 3:
        return [text for value in known[node.id] for text in _texts(value, known, depth + 1)]
    return ["…"] if node is not None and not (isinstance(node, ast.Constant) and node.value is None) else [""]


def _cell(text: str) -> str:
    return re.sub(r"([|<*])", r"\\\1", " ".join(text.split())) if "`" not in text else text.replace("|", "\\|")
