"""The summary of a group run: made of what the steps give, and of what is there when one has failed."""

import dataclasses

import pandas as pd
import pytest

from bids_app.bids.maps import GreyMatterMap
from bids_app.bids.tables import write_tsv
from bids_app.cli import parse
from bids_app.group.study import Design
from bids_app.workflows.group.cohort_graph import init_group_wf
from bids_app.workflows.group.group_level import _head_size
from bids_app.workflows.group.group_summary import INPUTS, MapFacts, name_left_out, read_inputs, summarise


def config(tmp_path, *more):
    return parse([str(tmp_path / "bids"), str(tmp_path / "out"), "group", "--group-column", "dx", *more])


def facts():
    table = pd.DataFrame({"participant_id": ["sub-1", "sub-1", "sub-2", "sub-3"], "dx": ["AD", "AD", "CN", None]})
    return MapFacts(table, "MNI152Lab", 4.0, [{"participant_id": "sub-4", "reason": "half is missing"}], sloppy=False)


def test_every_input_is_an_output_of_its_step(tmp_path):
    paths = [tmp_path / "a.nii.gz", tmp_path / "cohort.tsv"]
    for path in paths:
        path.touch()
    said = {"space": "S", "dataset": "d", "licence": "none", "n_folds": 2, "n_threads": 1, "n_jobs": 1}
    workflow = init_group_wf(config(tmp_path), paths[:1], table=paths[1], design=Design(), **said)
    for output, step in INPUTS.items():
        assert output in workflow.get_node(step).interface.output_spec().copyable_trait_names(), step


def test_a_run_in_which_every_step_has_failed_has_a_summary(tmp_path):
    made = summarise(config(tmp_path), facts(), **read_inputs({}))
    assert (made["n_scans"], made["n_participants"], made["groups"]) == (4, 3, {"AD": 2, "CN": 1})
    assert made["left_out"] == facts().left_out
    assert (made["atlas"], made["latent_dim"], made["shap"], made["notes"]) == (None, None, None, [])
    assert made["template"] == "MNI152Lab"


def test_maps_that_could_not_be_used_are_named_beside_those_that_the_gate_failed(tmp_path):
    cohort = write_tsv(tmp_path / "cohort.tsv", facts().table.iloc[:3])
    given = {**read_inputs({}), "cohort": str(cohort), "rejected": [("/maps/sub-3_map.nii.gz", "it is empty")]}
    made = summarise(config(tmp_path), facts(), **given)
    assert (made["n_scans"], made["n_participants"]) == (3, 2)
    assert [one["reason"] for one in made["left_out"]] == ["half is missing", "it is empty"]
    assert (made["left_out"][1]["participant_id"], made["left_out"][1]["session_id"]) == ("sub-3", None)
    other = name_left_out("mwp1sub-01_ses-2_T1w.nii", "it is empty")
    assert (other["participant_id"], other["session_id"]) == ("sub-01", "ses-2")


def test_what_each_contrast_leaves_out_and_what_comes_before_any_number(tmp_path):
    given = {
        **read_inputs({}),
        "scan_notes": ["AD-CN: 3 further scans of 2 participants are unused."],
        "profile_notes": ["a"],
    }
    known = dataclasses.replace(facts(), visits="age (1 participant)", warnings=["Mind the head."])
    made = summarise(config(tmp_path, "--primary", "AD-CN", "--scan-choice", "mean"), known, **given)
    assert made["notes"] == [
        "a",
        *given["scan_notes"],
        "The scans of a participant are ordered by age (1 participant).",
    ]
    assert (made["warnings"], made["primary"], made["scan_choice"]) == (["Mind the head."], "AD-CN", "mean")


@pytest.mark.parametrize(("covariates", "modulated", "warned"), [((), True, True), (("age",), True, True),
                         (("age", "TIV"), True, False), (("eTIV_FS",), True, False), ((), False, False)])  # fmt: skip
def test_head_size_is_asked_for_where_volumes_are_compared(tmp_path, covariates, modulated, warned):
    maps = [GreyMatterMap(tmp_path / "map.nii.gz", "01", modulated=modulated)]
    assert bool(_head_size(maps, Design("dx", covariates=covariates))) is warned
