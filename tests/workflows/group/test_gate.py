"""The gate at group level: what it says follows the cohort, and leaves no one out for being unusual."""

import json

import pandas as pd
import pytest

from bids_app.bids.anat import read_sidecar
from bids_app.bids.maps import find_maps
from bids_app.cli import main
from bids_app.config import Config
from bids_app.group.design import build_covariates
from bids_app.simulate.cli import main as simulate
from bids_app.workflows.group import group_level


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Maps of 24 participants; that of sub-03 has 15 % more grey matter than its intensities speak for."""
    root = tmp_path_factory.mktemp("gate")
    arguments = ["--maps-only", "--n-participants", "24", "--resolution", "4", "--seed", "8", "--effect", "0.4"]
    assert simulate([str(root / "maps"), *arguments, "--quiet"]) == 0
    for number, sidecar in enumerate(sorted(root.glob("maps/sub-*/anat/*.json"))):
        facts = json.loads(sidecar.read_text())
        facts |= {"GMIntensityAgreement": 1 + 0.002 * (number % 7), "QualityVerdict": "pass", "QualityReasons": []}
        facts |= {"WMHypointensityVolume": 1 + 0.5 * number}
        if "sub-03" in sidecar.name:
            facts["GMIntensityAgreement"] = 1.15
        sidecar.write_text(json.dumps(facts))
    return root


def test_volumes_that_the_scans_know_are_covariates(cohort):
    config = Config(bids_dir=cohort / "maps", output_dir=cohort / "out", analysis_level="group")
    maps = find_maps([cohort / "maps"]).maps
    facts = [read_sidecar(one.path) for one in maps]
    table = group_level._cohort(config, maps, facts)
    assert table["tiv"].tolist() == [one["TIV"] for one in facts]
    assert sorted(table["WMHypointensityVolume"]) == [1 + 0.5 * number for number in range(24)]
    found = build_covariates(table, ["age", "WMHypointensityVolume"])
    assert found.names == ("age", "WMHypointensityVolume")
    assert found.complete.all()
    # A column of participants.tsv comes first.
    (cohort / "own").mkdir()
    own = pd.read_csv(cohort / "maps" / "participants.tsv", sep="\t").assign(WMHypointensityVolume=7.0)
    own.to_csv(cohort / "own" / "participants.tsv", sep="\t", index=False)
    elsewhere = Config(bids_dir=cohort / "own", output_dir=cohort / "out", analysis_level="group")
    assert (group_level._cohort(elsewhere, maps, facts)["WMHypointensityVolume"] == 7).all()


def analyse(root):
    command = [root / "maps", root / "out", "group", "-w", root / "work", "--group-column", "diagnosis", "--latent-dim",
               "4", "--epochs", "1", "--folds", "3", "--permutations", "60", "--voxelwise", "none"]  # fmt: skip
    assert main([str(c) for c in command]) == 0
    quality = pd.read_csv(root / "out/phenotype/quality.tsv", sep="\t").set_index("participant_id")
    return quality, pd.read_csv(root / "out/group/verdicts.tsv", sep="\t")


def test_the_verdicts_follow_participants_tsv(cohort):
    quality, verdicts = analyse(cohort)
    assert sorted(quality["WMHypointensityVolume"]) == [1 + 0.5 * number for number in range(24)]
    assert quality.loc["sub-03", "QualityVerdict"] == "look"
    assert "the cohort's median" in quality.loc["sub-03", "CohortReasons"]
    assert quality.loc["sub-03", "QualityReasons"] == quality.loc["sub-03", "CohortReasons"]
    assert (quality.drop("sub-03")["QualityVerdict"] == "pass").all()
    assert len(quality) == 24  # a look leaves nobody out
    assert "sub-03" in (cohort / "out/group.html").read_text().split("Scans to inspect")[1][:4000]
    sidecar = next(cohort.glob("maps/sub-03/anat/*.json"))
    assert json.loads(sidecar.read_text())["QualityVerdict"] == "pass"  # the scan's own verdict is left as it was

    file = cohort / "maps" / "participants.tsv"
    table = pd.read_csv(file, sep="\t")
    # Two groups that the maps do not know: sub-03 stands as far apart from the cohort as before.
    table.assign(diagnosis=["A", "B"] * 12).to_csv(file, sep="\t", index=False)
    config = Config(bids_dir=cohort / "maps", output_dir=cohort / "out", analysis_level="group")
    kept, sidecars, _ = group_level._trusted(find_maps([cohort / "maps"]).maps)
    group_level._write_quality(config, group_level._cohort(config, kept, sidecars), sidecars)
    relabelled = pd.read_csv(cohort / "out/phenotype/quality.tsv", sep="\t").set_index("participant_id")
    pd.testing.assert_frame_equal(relabelled, quality)

    # Nine of them named: the claims of the three groups must go, and there is no cohort, so that no reason is left
    # from the one that there was.
    table.assign(diagnosis=["A", "B"] * 12).head(9).to_csv(file, sep="\t", index=False)
    quality, changed = analyse(cohort)
    assert verdicts["contrast"].dropna().str.contains("AD").any()
    assert set(changed["contrast"].dropna()) == {"B-A"}
    assert (quality["QualityVerdict"] == "pass").all()
    assert "CohortReasons" not in quality
