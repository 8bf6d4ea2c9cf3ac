"""Run the participant level on datasets with reference labels, and measure its grey matter against them.

    python benchmarks/measure.py DATASET [DATASET ...] --output FOLDER [--participant-label 01 02] [--nprocs 2]

The command line is called as a user calls it, once per dataset, and resumes where an earlier call stopped. Of the group
level only the regional volumes are wanted, ``phenotype/regional_gm.tsv``: they are read off the maps by the function
that its stage calls, because the whole level would first train a model. ``against_labels.py`` measures the rest; its
text and its table of scans are also left in FOLDER.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import pandas as pd
from against_labels import measure, report_all


def run_participants(dataset: Path, output: Path, work: Path, labels: list[str], nprocs: int) -> int:
    """The participant level; its exit code, 1 where a scan failed and the others are there."""
    command = [
        *(sys.executable, "-m", "bids_app", str(dataset), str(output), "participant"),
        *("-w", str(work), "--nprocs", str(nprocs)),
    ]
    return subprocess.run([*command, *(["--participant-label", *labels] if labels else [])]).returncode


def write_regions(output: Path) -> None:
    """Grey matter of AAL2's regions in every map, in the table that the group level writes."""
    from bids_app.space.atlas_loaders import load_atlas, regional_volumes

    maps = sorted(output.glob("sub-*/**/anat/*_desc-modulated_probseg.nii.gz"))
    atlas = load_atlas("AAL2", nib.load(maps[0]))
    volumes = pd.DataFrame(regional_volumes(maps, atlas), columns=atlas.table["name"].tolist())
    volumes.insert(0, "participant_id", [path.relative_to(output).parts[0] for path in maps])
    (output / "phenotype").mkdir(exist_ok=True)
    volumes.to_csv(output / "phenotype" / "regional_gm.tsv", sep="\t", index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--participant-label", nargs="+", default=[])
    parser.add_argument("--nprocs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    tables = []
    for dataset in args.datasets:
        labels = [label.removeprefix("sub-") for label in args.participant_label]
        if labels:
            labels = [label for label in labels if (dataset / f"sub-{label}").is_dir()]
            if not labels:
                continue
        output = args.output / dataset.name
        code = run_participants(dataset, output, args.output / "work" / dataset.name, labels, args.nprocs)
        if code not in (0, 1):
            raise SystemExit(code)
        write_regions(output)
        tables.append(measure(dataset, output))
    text = report_all([t for t in tables if len(t)])
    print("\n" + text)
    (args.output / "against_labels.txt").write_text(text + "\n")
    pd.concat(tables).round(5).to_csv(args.output / "against_labels.tsv", sep="\t", index=False)


if __name__ == "__main__":
    main()
