"""Write the Boutiques descriptors from the declarations of the options, so that they cannot fall behind them.

    python pipelines/make_descriptors.py

``boutiques/latentatlas.json`` runs the Docker image; ``nipoppy/descriptor.json`` says the same of the Apptainer image,
which Nipoppy names itself. ``boutiques/latentatlas-plan.json`` runs the planner in the Docker image.
"""

import json
from pathlib import Path

from bids_app import __version__
from bids_app.cli import EPILOG, build_parser
from bids_app.config import LEVELS, options
from bids_app.planning.cli import build_parser as planning_parser

HERE = Path(__file__).parent
TYPES = {"Path": "File", "int": "Number", "float": "Number", "bool": "Flag", "str": "String", "tuple": "String"}
#: Folders and files that need not be there yet, or may be either a name or a file: passed on as they are written.
PLAIN = ("work_dir", "bids_database_dir", "atlas")


def inputs() -> list[dict]:
    """The positional arguments, then every option of :class:`bids_app.config.Config`."""
    found = [
        {"id": "bids_dir", "name": "BIDS dataset", "type": "File", "optional": False, "value-key": "[BIDS_DIR]"},
        {"id": "output_dir", "name": "Output dataset", "type": "String", "optional": False,
         "value-key": "[OUTPUT_DIR]"},
        {"id": "analysis_level", "name": "Level of the analysis", "type": "String", "optional": False,
         "value-key": "[ANALYSIS_LEVEL]", "value-choices": list(LEVELS)},
    ]  # fmt: skip
    for action in build_parser()._actions:
        declared = next((o for o in options() if o.name == action.dest), None)
        if declared is None or declared.name == "verbose":
            continue
        flag = f"--{declared.name.replace('_', '-')}"
        entry = {
            "id": declared.name,
            "name": declared.name.replace("_", " "),
            "description": declared.metadata["help"].replace("%%", "%"),
            "type": _type(declared),
            "optional": True,
            "command-line-flag": flag,
            "value-key": f"[{declared.name.upper()}]",
        }
        if declared.metadata["many"]:
            entry["list"] = True
        if declared.metadata["choices"]:
            entry["value-choices"] = list(declared.metadata["choices"])
        if entry["type"] == "Number" and "int" in str(declared.type):
            entry["integer"] = True
        found.append(entry)
    return found


def _type(declared) -> str:
    if declared.name in PLAIN or declared.name == "mem":
        return "String"
    for kind, name in TYPES.items():
        if kind in str(declared.type) and not (kind == "str" and "tuple" in str(declared.type)):
            return name
    raise TypeError(declared.type)


def descriptor(container: dict) -> dict:
    """A Boutiques descriptor of the whole command."""
    entries = inputs()
    codes = EPILOG.split("exit codes:")[1].split(";")
    return {
        "name": "LatentAtlas",
        "description": build_parser().description,
        "tool-version": __version__,
        "schema-version": "0.5",
        "author": "The LatentAtlas developers",
        "command-line": " ".join(["latentatlas", *(e["value-key"] for e in entries)]),
        "container-image": container,
        "inputs": entries,
        "output-files": [
            {"id": "output", "name": "Derivative dataset", "path-template": "[OUTPUT_DIR]", "optional": False},
        ],
        "error-codes": [
            {"code": int(code), "description": text.strip()}
            for code, text in (" ".join(c.split()).split(" ", 1) for c in codes)
            if int(code)
        ],
        "suggested-resources": {"cpu-cores": 2, "ram": 6, "walltime-estimate": 1800},
        "tags": {"domain": ["neuroinformatics", "mri"], "application-type": "bidsapp"},
    }


def planner(image: str) -> dict:
    """A Boutiques descriptor of ``latentatlas-plan``, which writes its results to a file."""
    parser, entries = planning_parser(), []
    for action in parser._actions:
        if action.dest in ("help", "version"):
            continue
        kinds = {int: "Number", float: "Number", Path: "String"}
        entry = {
            "id": action.dest,
            "name": action.dest.replace("_", " "),
            "description": " ".join((action.help % {"default": action.default}).split()),
            "type": "Flag" if action.nargs == 0 else kinds.get(action.type, "String"),
            "optional": not action.required,
            "command-line-flag": action.option_strings[-1],
            "value-key": f"[{action.dest.upper()}]",
        }
        if action.nargs == "+":
            entry["list"] = True
        if action.choices:
            entry["value-choices"] = list(action.choices)
        if action.type is int:
            entry["integer"] = True
        entries.append(entry)
    return {
        "name": "LatentAtlas, planning a study",
        "description": parser.description,
        "tool-version": __version__,
        "schema-version": "0.5",
        "author": "The LatentAtlas developers",
        # The image's entry point is latentatlas: another command is named in its place.
        "command-line": " ".join(["latentatlas-plan", *(e["value-key"] for e in entries)]),
        "container-image": {"type": "docker", "image": image},
        "inputs": entries,
        "output-files": [
            {"id": f"{name}_file", "name": title, "path-template": f"[{name.upper()}]", "optional": True}
            for name, title in (("json", "Results"), ("picture", "Picture of the results"))
        ],
        "suggested-resources": {"cpu-cores": 2, "ram": 2, "walltime-estimate": 180},
        "tags": {"domain": ["neuroinformatics", "mri"]},
    }


def main() -> None:
    image = f"latentatlas:{__version__}"
    for file, container in {
        HERE / "boutiques" / "latentatlas.json": {"type": "docker", "image": image, "entrypoint": True},
        HERE / "nipoppy" / "descriptor.json": {"type": "singularity", "image": image, "index": "docker://"},
    }.items():
        file.write_text(json.dumps(descriptor(container), indent=2) + "\n")
    (HERE / "boutiques" / "latentatlas-plan.json").write_text(json.dumps(planner(image), indent=2) + "\n")


if __name__ == "__main__":
    main()
