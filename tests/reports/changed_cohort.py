"""The analysed cohort with other numbers in its tables, written again by the program's own writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bids_app.bids.tables import read_tsv, write_tsv

PER_SCAN = ("phenotype/*.tsv", "group/latents_full.tsv", "group/shap_values.tsv", "group/projection_seeds.tsv")


def per_scan(folder: Path) -> list[Path]:
    """The tables of one row per scan, and that of the seeds."""
    return [path for pattern in PER_SCAN for path in sorted(folder.glob(pattern))]


def change(path: Path, **columns) -> None:
    """Give columns of a table other values; a function is called with the column as it is."""
    table = read_tsv(path)
    write_tsv(path, table.assign(**{k: v(table[k]) if callable(v) else v for k, v in columns.items()}))


def keep(folder: Path, n: int) -> None:
    """Leave the first participants only."""
    kept = list(read_tsv(folder / "phenotype" / "cohort.tsv")["participant_id"].head(n))
    for path in per_scan(folder):
        table = read_tsv(path)
        write_tsv(path, table[table["participant_id"].isin(kept)])


def enlarge(folder: Path, n: int, latents: int) -> None:
    """Repeat participants and latents under new names."""
    known = list(read_tsv(folder / "phenotype" / "cohort.tsv")["participant_id"])
    copies = -(-n // len(known))
    again = {old: [f"sub-{i + copy * len(known):04d}" for copy in range(copies)] for i, old in enumerate(known)}
    for path in per_scan(folder):
        table = read_tsv(path)
        parts = [
            table.assign(participant_id=[again[i][copy] for i in table["participant_id"]]) for copy in range(copies)
        ]
        table = pd.concat(parts, ignore_index=True)
        table = table[table["participant_id"] < f"sub-{n:04d}"]
        if path.name == "latents.tsv":
            values = table.filter(like="latent_").to_numpy()
            names = [f"latent_{k + 1:02d}" for k in range(latents)]
            wide = pd.DataFrame(np.resize(values, (len(table), latents)), columns=names)
            table = table[["participant_id"]].reset_index(drop=True).join(wide)
        write_tsv(path, table)
    profile = read_tsv(folder / "group" / "lrcp_profile.tsv")
    names = list(profile["latent"].unique())
    parts = [
        profile[profile["latent"] == names[k % len(names)]].assign(latent=f"latent_{k + 1:02d}") for k in range(latents)
    ]
    write_tsv(folder / "group" / "lrcp_profile.tsv", pd.concat(parts, ignore_index=True))
