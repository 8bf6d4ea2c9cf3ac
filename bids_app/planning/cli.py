"""The command ``latentatlas-plan``."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..errors import ConfigError, LatentAtlasError, UsageError
from . import PATTERNS

if TYPE_CHECKING:
    import pandas as pd

    from .bank import Scenario


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="latentatlas-plan",
        description="Estimate, before a study, how often each claim would be supported. Cohorts are drawn from "
        "simulated grey-matter maps of people of 55 to 90 years, the linear path learns its latents from them, "
        "and every claim is graded as in a real run. Age, sex and head size are covariates.",
        epilog="The power of a claim is the share of simulated studies in which it is supported. Real patients differ "
        "from simulated ones: treat the power as an upper limit.",
    )
    parser.add_argument(
        "--groups", type=int, nargs="+", required=True, metavar="N", help="participants per group, patients first"
    )
    parser.add_argument(
        "--effect-sd",
        type=float,
        required=True,
        metavar="SD",
        help="loss of grey matter in the affected regions of patients, in standard deviations of a region "
        "(covariates removed); 0 shows the false positives",
    )
    affected = "affected regions: 8 anywhere, 8 in the medial temporal lobe, or 40 (default: %(default)s)"
    parser.add_argument("--pattern", choices=PATTERNS, default=PATTERNS[0], help=affected)
    parser.add_argument("--atlas", choices=("AAL2",), default="AAL2", help="default: %(default)s")
    parser.add_argument(
        "--latent-dim",
        type=int,
        default=64,
        help="maximum number of latents; fewer are used with few maps (default: %(default)s)",
    )
    parser.add_argument(
        "--sites", type=int, default=1, help="number of scanners, distributed unevenly (default: %(default)s)"
    )
    parser.add_argument(
        "--covariates", type=int, default=0, metavar="N", help="number of further covariates (default: %(default)s)"
    )
    parser.add_argument(
        "--spread", type=float, default=1.0, help="spread of the patients relative to the others (default: 1)"
    )
    enough = "number of simulated studies (default: %(default)s, standard error below .04)"
    parser.add_argument("--studies", type=int, default=200, metavar="N", help=enough)
    parser.add_argument("--nprocs", type=int, help="number of processes (default: all processors)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to this file")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="also draw the results (.png, .svg or .pdf)")
    parser.add_argument("--quiet", action="store_true", help="show no progress bar")
    parser.add_argument("--version", action="version", version=f"latentatlas-plan {__version__}")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = build_parser().parse_args(argv)
    try:
        _plan(options)
    except KeyboardInterrupt:
        print("latentatlas-plan: interrupted", file=sys.stderr)
        return 130
    except LatentAtlasError as error:
        print(f"latentatlas-plan: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _plan(options: argparse.Namespace) -> None:
    if len(options.groups) < 2 or min(options.groups) < 2:
        raise UsageError(
            "--groups needs at least two groups of at least two participants each", remedy="e.g. --groups 50 50"
        )
    if min(options.studies, options.latent_dim, options.sites) < 1 or options.covariates < 0 or options.spread <= 0:
        raise UsageError(
            "--studies, --latent-dim, --sites and --spread must be positive, --covariates 0 or more",
            remedy="see latentatlas-plan --help for the defaults",
        )
    if options.nprocs is not None and options.nprocs < 1:
        raise UsageError("--nprocs must be 1 or more", remedy="omit it to use all processors")
    from tqdm import tqdm

    from ..workflows.engine.environment import processors
    from .bank import Scenario, load_bank
    from .power import simulate_studies, summarise_power

    if sum(options.groups) > len(load_bank()):
        raise ConfigError(
            f"{sum(options.groups)} participants are more than the {len(load_bank())} simulated ones",
            remedy="plan fewer",
        )
    scenario = Scenario(tuple(options.groups), options.effect_sd, options.pattern, options.spread, options.sites,
                        options.covariates, options.latent_dim)  # fmt: skip
    studies = simulate_studies(scenario, range(options.studies), options.nprocs or processors())
    hidden = options.quiet or None  # None: where there is no terminal
    found = list(tqdm(studies, total=options.studies, unit="study", disable=hidden, desc="Simulating studies"))
    table = summarise_power(found)
    print(describe_power(scenario, table, found))
    if options.json:
        record = {"scenario": asdict(scenario), "studies": len(found), "claims": table.to_dict("records")}
        options.json.write_text(json.dumps({**record, "version": __version__}, indent=2) + "\n", encoding="utf-8")
    if options.picture:
        from .picture import draw_power

        draw_power(table, scenario, len(found)).savefig(options.picture, bbox_inches="tight", dpi=150)


def describe_power(scenario: Scenario, table: pd.DataFrame, found: list[dict[str, float]]) -> str:
    """The table in words and columns."""
    from .power import TITLES

    groups = " + ".join(map(str, scenario.sizes))
    lines = [
        f"{len(found)} simulated studies of {groups} participants, {scenario.effect_sd:g} SD less grey matter "
        f"({scenario.pattern}), {found[0]['latents']:.0f} latents",
        "",
        f"{'claim':<52}{'supported':>16}{'in the worst case':>22}",
    ]
    for row in table.to_dict("records"):
        supported = f"{100 * row['supported']:.0f} % (± {100 * row['supported_se']:.0f})"
        worst = f"{100 * row['worst_case']:.0f} % (± {100 * row['worst_case_se']:.0f})"
        lines.append(f"{TITLES[row['claim_id']]:<52}{supported:>16}{worst:>22}")
    if "planted differ" in found[0]:
        differ, kept = (sum(one[f"planted {name}"] for one in found) / len(found) for name in ("differ", "kept"))
        lines += [
            "",
            f"Of the affected regions {100 * differ:.0f} % are found to differ and {100 * kept:.0f} % are kept.",
        ]
    if len(scenario.sizes) > 2:
        lines.append("A claim counts if it is supported for any pair of groups.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
