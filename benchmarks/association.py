"""Speed and agreement of the association profile: matrix products against a scipy loop and nilearn's permuted_ols.

    python benchmarks/association.py --participants 800 --permutations 10000 --out association.json

The loop and nilearn run fewer permutations; their times are scaled to the same number. The yardstick is the bare matrix
product of the same size in single precision, measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from nilearn.mass_univariate import permuted_ols
from scipy import stats

from bids_app.stats.association import associate
from bids_app.stats.linear import residualise


def matrix_product_seconds(n: int, k: int, r: int, permutations: int) -> float:
    """Time of the matrix products alone, in chunks of the size that suits them."""
    a = np.random.default_rng(0).random((k * 64, n), dtype=np.float32)
    b = np.random.default_rng(1).random((n, r), dtype=np.float32)
    a @ b
    repeats = max(1, permutations // 64 // 10)
    started = time.perf_counter()
    for _ in range(repeats):
        a @ b
    return (time.perf_counter() - started) / repeats * permutations / 64


def scipy_loop_seconds(g: np.ndarray, z: np.ndarray, permutations: int) -> tuple[float, np.ndarray]:
    """The plain way: for every permutation, region and latent a correlation."""
    rng = np.random.default_rng(0)
    rho = np.array([[stats.pearsonr(x, y)[0] for y in z.T] for x in g.T])
    started = time.perf_counter()
    shuffled = g[rng.permutation(len(g))]
    for x in shuffled.T:
        for y in z.T:
            stats.pearsonr(x, y)
    return (time.perf_counter() - started) * permutations, rho


def main() -> None:
    """Run, print and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--participants", type=int, default=800)
    parser.add_argument("--regions", type=int, default=120)
    parser.add_argument("--latents", type=int, default=64)
    parser.add_argument("--permutations", type=int, default=10_000)
    parser.add_argument("--nilearn-permutations", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("association.json"))
    args = parser.parse_args()
    n, r, k, b = args.participants, args.regions, args.latents, args.permutations
    rng = np.random.default_rng(0)
    c = rng.normal(size=(n, 2))
    z = rng.normal(size=(n, k)) + c[:, :1]
    g = rng.normal(size=(n, r)) + c[:, :1] + 0.2 * z[:, :1]

    result = {"participants": n, "regions": r, "latents": k, "permutations": b}
    result["matrix_product_s"] = matrix_product_seconds(n, k, r, b)
    started = time.perf_counter()
    plain = associate(g, z, n_permutations=b)
    result["latentatlas_s"] = time.perf_counter() - started
    started = time.perf_counter()
    found = associate(g, z, c, n_permutations=b)
    result["latentatlas_two_covariates_s"] = time.perf_counter() - started

    result["scipy_loop_s"], rho = scipy_loop_seconds(g, z, b)
    result["largest_difference_from_scipy"] = float(np.abs(rho - plain.rho).max())

    few = args.nilearn_permutations
    started = time.perf_counter()
    other = permuted_ols(z, g, confounding_vars=c, n_perm=few, n_jobs=1, output_type="dict", verbose=0)
    result["nilearn_s"] = (time.perf_counter() - started) * b / few
    # nilearn residualises and reports t with its own degrees of freedom: back to a correlation before comparing.
    zr, gr = residualise(z, c), residualise(g, c)
    expected = (zr / np.linalg.norm(zr, axis=0)).T @ (gr / np.linalg.norm(gr, axis=0))
    t = other["t"]
    rho_nilearn = t / np.sqrt(t**2 + (n - 1 - c.shape[1] - 1))
    result["largest_difference_from_nilearn"] = float(np.abs(np.abs(rho_nilearn) - np.abs(found.rho.T)).max())
    result["largest_difference_from_residuals"] = float(np.abs(expected - found.rho.T).max())
    result["overhead_over_matrix_product"] = result["latentatlas_s"] / result["matrix_product_s"]
    args.out.write_text(json.dumps(result, indent=1))
    for name, value in result.items():
        print(f"{name:34s} {value:.4g}")


if __name__ == "__main__":
    main()
