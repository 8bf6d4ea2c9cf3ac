"""Make ``bids_app/planning/bank.npz``: simulated maps in few coordinates, from which the planner draws its cohorts.

    python tools/planning_bank.py [--bank work/bank.npz]

The bank of maps is that of ``benchmarks/bank.py`` (600 maps of 4 mm, made here if it is not there: ten minutes). Maps
are smoothed by 8 mm; deviations from their mean, three patterns of loss and the map of standard deviations are put into
one orthonormal basis, in half precision. Inner products of maps, and with them everything that a linear model learns,
are those of the coordinates.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "benchmarks"))

from bank import VOXEL_ML, deviations, make_bank, read_bank, region_sums  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bank", type=Path, default=Path("work/bank.npz"))
    options = parser.parse_args()
    if not options.bank.exists():
        options.bank.parent.mkdir(parents=True, exist_ok=True)
        make_bank(options.bank, 600, 1)
    bank = read_bank(options.bank)
    centre, everything, planted = deviations(bank)
    gram = everything @ everything.T
    values, vectors = np.linalg.eigh(gram)
    keep = values > 1e-9 * values.max()
    coordinates = vectors[:, keep] * np.sqrt(values[keep])
    basis = (vectors[:, keep] / np.sqrt(values[keep])).T @ everything
    n = len(bank["maps"])
    np.savez_compressed(
        HERE.parent / "bids_app" / "planning" / "bank.npz",
        maps=coordinates[:n].astype(np.float16),
        loadings=region_sums(basis, bank).astype(np.float32),
        mean=region_sums(centre[None], bank)[0].astype(np.float32),
        patterns=coordinates[n:-1].astype(np.float32),
        spread=coordinates[-1].astype(np.float32),
        planted=planted,
        index=bank["index"],
        names=bank["names"],
        age=bank["age"],
        sex=bank["sex"],
        tiv=bank["tiv"],
    )
    print(f"{n} maps in {coordinates.shape[1]} coordinates; a voxel is {VOXEL_ML} ml")


if __name__ == "__main__":
    main()
