"""The graph of the group level: what runs again when an option changes, and what of it is published."""

import networkx as nx

from bids_app.cli import parse
from bids_app.group.study import Design
from bids_app.workflows.group.cohort_graph import init_group_wf
from bids_app.workflows.group.group_level import _publish


def test_another_atlas_trains_nothing_anew(tmp_path):
    config = parse([str(tmp_path / "bids"), str(tmp_path / "out"), "group"])
    paths = [tmp_path / "a.nii.gz", tmp_path / "cohort.tsv"]
    for path in paths:
        path.touch()
    said = {"space": "MNI152NLin2009aSym", "dataset": "d", "licence": "none", "n_folds": 2, "n_threads": 1, "n_jobs": 1}
    graph = init_group_wf(config, paths[:1], table=paths[1], design=Design(), **said)._graph
    after = {node.name for node in nx.descendants(graph, next(n for n in graph if n.name == "regions"))}
    assert not {name for name in after if name.startswith(("fit", "volumes", "collect"))}
    assert {"held_out_regions", "study", "profile", "verdicts"} <= after


def test_the_labels_of_another_atlas_are_dropped(tmp_path):
    work, out = tmp_path / "work", tmp_path / "out"
    for name in ("old", "new"):
        for file in (f"tpl-T/anat/tpl-T_atlas-{name}_dseg.nii.gz", f"atlas-{name}_description.json"):
            for place in (out, work / "regions" / "out") if name == "new" else (out,):
                (place / file).parent.mkdir(parents=True, exist_ok=True)
                (place / file).write_text(name)
    for complete, kept in ((False, {"old", "new"}), (True, {"new"})):
        _publish(work, {"regions"}, out, complete=complete)
        assert {path.read_text() for path in out.rglob("*atlas-*")} == kept


def test_tables_of_scans_that_a_run_has_not_made_are_dropped(tmp_path):
    """Distances from a reference group that this run was not given would be read as its own."""
    work, out = tmp_path / "work", tmp_path / "out"
    names = ("deviations.tsv", "deviations.json", "latents.tsv", "questionnaire.tsv")
    for place, files in ((out, names), (work / "latents" / "out", ["latents.tsv"])):
        for file in files:
            (place / "phenotype").mkdir(parents=True, exist_ok=True)
            (place / "phenotype" / file).write_text("x")
    for complete, kept in ((False, set(names)), (True, {"latents.tsv", "questionnaire.tsv"})):
        _publish(work, {"latents"}, out, complete=complete)
        assert {path.name for path in (out / "phenotype").iterdir()} == kept


def test_models_of_folds_that_are_gone_are_dropped_with_the_model(tmp_path):
    """Ten folds, then five, and a later step failed: with the old models beside it no scan could be encoded."""
    work, out = tmp_path / "work", tmp_path / "out"
    for place, folds in ((out, 10), (work / "collect" / "out", 5)):
        for name in ("", *(f"folds/fold-{number}/" for number in range(folds))):
            (place / "group/model" / name).mkdir(parents=True, exist_ok=True)
            (place / "group/model" / name / "model.json").touch()
    (out / "group/verdicts.tsv").touch()
    _publish(work, {"vbm"}, out, complete=False)
    assert len(list(out.rglob("fold-*"))) == 10
    _publish(work, {"collect"}, out, complete=False)
    assert len(list(out.rglob("fold-*/model.json"))) == 5
    assert (out / "group/verdicts.tsv").exists()
