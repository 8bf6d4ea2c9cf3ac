"""Where to look: no two modules of one file name, and no name that means two things."""

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "bids_app"
MODULES = sorted(PACKAGE.rglob("*.py"))
#: Files that Python or a command wants by this name.
ANY_PACKAGE = ("__init__.py", "__main__.py", "cli.py")
#: A step and a section of the report are called what the analysis is called that they run or show.
NAMED_AFTER_AN_ANALYSIS = re.compile(r"workflows/\w+/\w+_steps\.py|reports/sections_\w+\.py")
#: Functions and classes that several modules have because something calls them by that name.
INTERFACES = {
    "main": "what a command starts",
    "build_parser": "of a command; the documentation reads it",
    "Network": "of an encoder architecture (schema/architectures.py)",
    "segment": "of a segmentation engine (schema/segmenters.py)",
}


def test_no_two_modules_have_one_file_name():
    places = defaultdict(list)
    for path in MODULES:
        if path.name not in ANY_PACKAGE:
            places[path.name].append(str(path.relative_to(PACKAGE)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_function_or_class_has_the_name_of_another():
    places = defaultdict(list)
    for path in MODULES:
        where = path.relative_to(PACKAGE).as_posix()
        if NAMED_AFTER_AN_ANALYSIS.fullmatch(where):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(where)
    twice = {name: found for name, found in places.items() if len(found) > 1}
    assert {name: found for name, found in twice.items() if name not in INTERFACES} == {}
    assert set(INTERFACES) <= set(twice)  # one that nobody needs any more goes


def _constants(path: Path) -> set[str]:
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            found |= {name.id for name in names if isinstance(name, ast.Name) and not name.id.startswith("_")}
    return found


def test_no_constant_has_the_name_of_one_of_the_schema():
    known = defaultdict(list)
    for path in sorted((PACKAGE / "schema").glob("*.py")):
        for name in _constants(path):
            known[name].append(path.name)
    assert {name: found for name, found in known.items() if len(found) > 1} == {}
    elsewhere = {path.name: _constants(path) & set(known) for path in MODULES if path.parent.name != "schema"}
    assert {name: found for name, found in elsewhere.items() if found} == {}


def test_no_module_is_longer_than_two_should_be():
    lengths = {p.relative_to(PACKAGE).as_posix(): len(p.read_text(encoding="utf-8").splitlines()) for p in MODULES}
    assert {name: n for name, n in lengths.items() if n > 400} == {}


def test_code_and_documentation_keep_to_one_vocabulary():
    """The table of CONTRIBUTING: the word on the right is not used for the thing on the left."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w[\w ]*) \| (.+) \| ([^|]+) \|$", text, re.M)
    unwanted = [word for _, _, cell in rows[1:] for word in re.findall(r"`([^`]+)`", cell)]
    assert len(unwanted) > 5
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *MODULES]
    found = []
    for path in pages:
        words = "|".join(re.escape(word) for word in unwanted)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            found += [f"{path.relative_to(ROOT)}:{number}: {w}" for w in re.findall(rf"\b(?:{words})\b", line)]
    assert found == []
