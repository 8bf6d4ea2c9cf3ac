"""The command ``latentatlas-simulate``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .. import __version__
from ..errors import LatentAtlasError, UsageError


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="latentatlas-simulate",
        description="Write a synthetic BIDS dataset of T1-weighted head scans with planted atrophy, which grows from "
        "CN over MCI to AD in named regions. The ground truth is written to code/ground_truth.tsv.",
    )
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="new or empty folder; an interrupted run resumes")
    parser.add_argument("--n-participants", type=int, default=24, help="number of participants (default: %(default)s)")
    parser.add_argument(
        "--sessions", type=int, default=1, help="sessions per participant, 1.5 years apart (default: 1)"
    )
    parser.add_argument("--resolution", type=float, default=2.0, help="voxel edge in mm (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--full-head", dest="full_head", action="store_true", default=True, help="scans of the whole head (default)"
    )
    kind.add_argument("--stripped", dest="full_head", action="store_false", help="skull-stripped scans")
    parser.add_argument(
        "--effect",
        type=float,
        default=0.25,
        help="share of its grey matter that the most affected region loses in AD; MCI loses half; 0 plants nothing "
        "(default: %(default)g)",
    )
    parser.add_argument(
        "--region",
        action="append",
        metavar="NAME[=WEIGHT]",
        help="plant in this AAL2 region, WEIGHT (0 to 1) times the effect; repeat for several (default: hippocampus, "
        "amygdala, parahippocampal gyrus and precuneus of both sides)",
    )
    parser.add_argument("--confound", action="store_true", help="let age correlate with the diagnosis")
    parser.add_argument(
        "--maps-only",
        action="store_true",
        help="make modulated grey-matter maps in template space (a derivative dataset for the group level), not scans",
    )
    parser.add_argument(
        "--nprocs", type=int, default=1, help="number of scans made at the same time (default: %(default)s)"
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress bar")
    parser.add_argument("--version", action="version", version=f"latentatlas-simulate {__version__}")
    return parser


def parse_regions(given: list[str] | None) -> dict[str, float] | None:
    """``NAME=WEIGHT`` strings to a dictionary; None when nothing was given.

    Raises
    ------
    UsageError
    """
    if not given:
        return None
    regions = {}
    for item in given:
        name, _, weight = item.partition("=")
        try:
            regions[name] = float(weight) if weight else 1.0
        except ValueError:
            raise UsageError(f"--region {item!r} has no number after '='.", remedy="E.g. Hippocampus_L=0.8") from None
    return regions


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = build_parser().parse_args(argv)
    try:
        return _run(options)
    except LatentAtlasError as error:
        sys.stderr.write(f"latentatlas-simulate: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("latentatlas-simulate: interrupted; the same command resumes.\n")
        return 130


def _run(options: argparse.Namespace) -> int:
    regions = parse_regions(options.region)
    if options.nprocs < 1:
        raise UsageError(f"--nprocs {options.nprocs} is out of range.", remedy="Choose 1 or more.")
    names = ("n_participants", "sessions", "resolution", "seed", "full_head", "effect", "confound")
    chosen = {name: getattr(options, name) for name in names} | ({"regions": regions} if regions else {})

    from tqdm import tqdm

    from .scan_dataset import SimulationSettings, simulate_dataset  # science libraries load here, not at --help

    settings = SimulationSettings(**chosen)
    unit, hidden = "map" if options.maps_only else "scan", options.quiet or None  # None: where there is no terminal
    with tqdm(total=None, unit=unit, disable=hidden, desc="Simulating") as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        if options.maps_only:
            from .map_dataset import simulate_map_dataset

            simulate_map_dataset(options.out_dir, settings, progress)
        else:
            simulate_dataset(options.out_dir, settings, options.nprocs, progress)
    return 0


if __name__ == "__main__":
    sys.exit(main())
