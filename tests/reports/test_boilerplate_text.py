"""The methods text: every branch says what was done, and nothing else."""

import itertools
import json
import re

import pytest
from markdown_it import MarkdownIt

from bids_app.config import Config
from bids_app.reports.boilerplate import describe_run, home, methods_text, write_boilerplate
from bids_app.reports.citations import cited, html_page, read_bibliography, tex_document
from bids_app.schema.atlases import ATLASES
from bids_app.schema.segmenters import SEGMENTERS_BY_NAME

MAP = "space-MNI152NLin2009aSym_res-4_label-GM_desc-{}_probseg.json"


def write_scan(folder, label, session="", verdict="pass", **meta):
    """The sidecar of a map: all of a scan that the text is made from."""
    prefix = f"sub-{label}_ses-{session}" if session else f"sub-{label}"
    anat = folder / f"sub-{label}" / (f"ses-{session}/anat" if session else "anat")
    anat.mkdir(parents=True, exist_ok=True)
    facts = {"Resolution": "4 mm isotropic", "QualityVerdict": verdict, **meta}
    (anat / f"{prefix}_{MAP.format('modulated')}").write_text(json.dumps(facts))


def text_of(folder, **options):
    return methods_text(describe_run(folder, {"analysis_level": "participant", **options}))


def group_text(folder, **summary):
    (folder / "group").mkdir(exist_ok=True)
    (folder / "group" / "summary.json").write_text(json.dumps({"n_scans": 20, "n_participants": 18, **summary}))
    return methods_text(describe_run(folder, {"analysis_level": "group"}))


def test_default_participant_run(tmp_path):
    text = text_of(tmp_path)
    assert "registered to the MNI152NLin2009aSym template [@fonov2009; @fonov2011] by an affine transform" in text
    assert "TemplateFlow" not in text
    assert "at 1.5 mm" in text
    assert "Gaussian kernel of 8 mm" in text
    assert "Latent space\n" not in text


@pytest.mark.parametrize(
    ("options", "said", "unsaid"),
    [
        (
            {"template": "MNI152NLin2009cAsym"},
            "MNI152NLin2009cAsym template [@fonov2009; @fonov2011] (through TemplateFlow",
            None,
        ),
        ({"template": "MNIPediatricAsym:cohort-3"}, "MNIPediatricAsym template", None),
        ({"smoothing_fwhm": 0.0}, "Maps were not smoothed.", "Gaussian"),
        ({"smoothing-fwhm": 6.0}, "Gaussian kernel of 6 mm", None),
        ({"resolution": 2.0}, "at 2 mm", None),
        ({"sloppy": True}, "a coarse diffeomorphic transform only", "DARTEL"),
        ({"sloppy": False}, "as in DARTEL [@dartel]. Third, Greedy refined", "coarse diffeomorphic"),
        ({"skull_strip": "skip"}, "no brain extraction was run", "deepbet"),
        ({"sloppy": True}, "its numbers are not results", None),
        ({}, "(random seed 0)", "not results"),
        ({"random_seed": 7}, "random seed 7", None),
        ({"derivatives": ("/data/smriprep",)}, "taken from smriprep", "N4"),
        ({"segmentation": "atropos"}, "segmented with Atropos [@atropos]", "mixture"),
        ({}, "segmented by a mixture model", "Atropos"),
    ],
)
def test_branches_of_the_participant_level(tmp_path, options, said, unsaid):
    text = text_of(tmp_path, **options)
    assert said in text
    assert unsaid is None or unsaid not in text


def test_engines_are_those_of_the_maps_and_not_of_the_option(tmp_path):
    write_scan(tmp_path, "01", LatentAtlasVersion="0.5.0", TissueSegmentation="atropos")
    assert "segmented with Atropos" in text_of(tmp_path)
    assert "mixture" not in text_of(tmp_path)
    write_scan(tmp_path, "02", LatentAtlasVersion="0.5.0")
    text = text_of(tmp_path, segmentation="atropos")
    assert "segmented with Atropos [@atropos], guided by" in text
    assert "and by a mixture model" in text


def test_maps_that_nothing_modulated(tmp_path):
    write_scan(tmp_path, "01")
    anat = tmp_path / "sub-01" / "anat"
    for path in [*anat.glob("*desc-modulated*")]:
        path.unlink()
    (anat / "sub-01_space-MNI152NLin2009aSym_res-4_label-GM_probseg.json").write_text(
        '{"Modulated": false, "Precomputed": true}'
    )
    assert "not modulated, because no transform was available" in text_of(tmp_path, derivatives=("/data/fmriprep",))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            {"GeneratedBy": [{"Name": "fMRIPrep", "Version": "24.1.1"}]},
            "taken from fMRIPrep 24.1.1 [@fmriprep], in the",
        ),
        ({"GeneratedBy": [{"Name": "CAT12"}]}, "taken from CAT12 [@cat12], in the"),
        ({"Name": "Our own maps"}, "taken from Our own maps, in the"),
    ],
)
def test_who_made_the_maps(tmp_path, made, said):
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "dataset_description.json").write_text(json.dumps(made))
    write_scan(tmp_path, "01", Precomputed=True, Modulated=True)
    text = text_of(tmp_path, derivatives=(tmp_path / "given",))
    assert said in text
    assert "They were modulated" in text
    assert "deepbet" not in text


def test_given_and_computed_maps_beside_each_other(tmp_path):
    write_scan(tmp_path, "01", Precomputed=True, Modulated=True)
    write_scan(tmp_path, "02")
    write_scan(tmp_path, "03")
    text = text_of(tmp_path, derivatives=("/data/smriprep",))
    assert "The grey-matter map of 1 scan was not computed by LatentAtlas but taken from smriprep" in text
    assert "T1-weighted scans (2 of 2 participants) were processed" in text


def test_the_group_level_alone_says_whose_maps_they_are(tmp_path):
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "dataset_description.json").write_text('{"Name": "Maps of the biobank"}')
    run = describe_run(tmp_path, {"analysis_level": "group", "bids_dir": tmp_path / "maps", "group_column": "dx"})
    text = methods_text(run)
    assert "taken from Maps of the biobank" in text
    assert "N4" not in text


def test_a_cohort_of_stripped_heads(tmp_path):
    for label in ("01", "02"):
        write_scan(tmp_path, label, SkullStripped=True)
    text = text_of(tmp_path)
    assert "All scans had been skull-stripped before" in text
    assert "Their outline was kept" in text


def test_scans_that_failed(tmp_path):
    write_scan(tmp_path, "01", verdict="fail")
    write_scan(tmp_path, "02")
    assert "The quality gate rejected 1 scan." in text_of(tmp_path)
    assert "The quality gate rejected 1 scan, which was excluded" in group_text(tmp_path)


def test_maps_that_a_model_encoded(tmp_path):
    write_scan(tmp_path, "01")
    anat = tmp_path / "sub-01" / "anat"
    (anat / f"sub-01_{MAP.format('recon')}").write_text("{}")
    assert "encoded with a previously trained model (adni)" in text_of(tmp_path, model="/models/adni")
    assert "encoded with a previously" not in text_of(tmp_path)


def test_how_strange_a_map_is_is_told_where_the_model_has_its_folds(tmp_path):
    write_scan(tmp_path, "01")
    recon = tmp_path / "sub-01" / "anat" / f"sub-01_{MAP.format('recon')}"
    for p, said in ((None, False), (0.25, True)):
        recon.write_text(json.dumps({"ReconstructionErrorP": p}))
        assert ("cross-conformal p value [@vovk2015]" in text_of(tmp_path, model="/models/adni")) is said
    recon.unlink()
    (tmp_path / "phenotype").mkdir()
    table = tmp_path / "phenotype" / "deviations.tsv"
    for columns, said in (("error", False), ("error_p\terror_p_bound", True)):
        table.write_text(f"participant_id\t{columns}\nsub-01\t0.5{chr(9) + '1' if said else ''}\n")
        assert ("is at most 2a + 2(K - 1)/(n + K)" in group_text(tmp_path, model="/models/adni")) is said


def test_what_was_asked_about_the_sites_is_said_and_no_more(tmp_path):
    text = group_text(tmp_path, site_column="scanner", contrasts=["AD-CN"], group_column="dx")
    assert "retrained without each site" not in text
    assert "information about the site" not in text
    group = tmp_path / "group"
    (group / "site_errors.tsv").write_text("site\tmodel\n")
    (group / "site_latents.tsv").write_text("latents\tpermutations\nas encoded\t1000\nafter ComBat\t1000\n")
    text = group_text(tmp_path, site_column="scanner", contrasts=["AD-CN"], group_column="dx")
    assert "retrained without each site (*scanner*)" in text
    assert (
        "before and after ComBat [@johnson2007; @fortin2018] fitted to the training participants of each fold" in text
    )
    assert "and 1,000 relabellings of the sites" in text
    (group / "site_latents.tsv").write_text("latents\tpermutations\nas encoded\tn/a\nafter ComBat\tn/a\n")
    assert "information about the site" not in group_text(tmp_path, site_column="scanner")


def test_the_verdict_on_the_error_decides_what_is_said_of_it(tmp_path):
    claim = "claim\tverdict\tclaim_id\nIn whatever words\t{}\terror_explained\n"
    (tmp_path / "group").mkdir()
    (tmp_path / "group" / "shap_regions.tsv").write_text("index\n1\n")
    for verdict, interpreted in (("supported", True), ("supported in the worst case", True), ("not supported", False)):
        (tmp_path / "group" / "verdicts.tsv").write_text(claim.format(verdict))
        assert ("not interpreted" not in group_text(tmp_path)) is interpreted


def test_counts_come_from_the_sidecars(tmp_path):
    write_scan(tmp_path, "01", session="1")
    write_scan(tmp_path, "01", session="2", SkullStripped=True)
    write_scan(tmp_path, "02", session="1")
    text = text_of(tmp_path)
    assert "(3 of 2 participants)" in text
    assert "1 scan had been skull-stripped before and kept its outline" in text
    assert "at 4 mm" in text


@pytest.mark.parametrize(
    ("summary", "said", "unsaid"),
    [
        ({"covariates": []}, "No covariate was removed", "Freedman"),
        ({"covariates": ["age"]}, "The influence of age was removed", None),
        ({"covariates": ["age", "sex", "tiv"]}, "age, sex and total intracranial volume was removed", "No covariate"),
        ({"atlas": "AAL3", "atlas_asked": "aal3"}, "AAL3 atlas [@aal3]", "aal2"),
        ({"atlas": "mine", "atlas_asked": "/a/mine.nii.gz"}, "the mine atlas (", "aal"),
        ({"atlas": "AAL3", "atlas_asked": "/a/AAL3.nii.gz"}, "the AAL3 atlas (", "Colin27"),
        ({"atlas": "AAL2", "atlas_asked": "AAL2"}, "(Colin27)", "aal3"),
        ({"folds": 7}, "into 7 folds", None),
        ({"model": "/models/adni"}, "on other participants (adni); none of the present", "Models were cross-fitted"),
        ({"model": "/models/adni", "folds": 4}, "regressions were cross-fitted over 4 folds", "PyTorch"),
        ({"group_column": None}, "No groups were specified", "Classification was evaluated"),
        ({"group_column": "dx"}, "Classification was evaluated", "No groups were specified"),
        ({"group_column": "dx"}, "(supervised by *dx*, out of fold)", None),
        ({"n_scans": 20, "n_participants": 20}, "20 maps of 20 participants", "averaged"),
        ({}, "Each participant was represented by one scan", "averaged"),
        ({"scan_choice": "mean"}, "that belong to the same group were averaged", "represented by one scan"),
        ({"contrasts": ["AD-CN"]}, "allow the groups to differ in variance", "Holm"),
        ({"contrasts": ["AD-CN", "MCI-CN"]}, "the number of contrasts by Holm's method", "specified in advance"),
        ({"contrasts": ["AD-CN", "MCI-CN"], "primary": "AD-CN"}, "AD-CN was specified in advance", None),
        ({"contrasts": ["AD-CN"], "site_column": "scanner"}, "exchanged within sites (*scanner*) only", None),
        ({"contrasts": ["AD-CN"]}, "permutations of studentised statistics", "within sites"),
        ({"contrasts": ["AD-CN"]}, "given in ml and as Hedges' g (for scores, as correlations).", "W-scores"),
        ({"contrasts": ["AD-CN"], "covariates": ["age"]}, "as correlations), with the influence of", None),
        ({"group_column": "dx", "reference_group": "CN"}, "from the group CN are W-scores", None),
        ({"group_column": "dx", "covariates": ["age"]}, "latent variables add to the covariates", None),
        ({"smoothing_fwhm": 0.0}, "Maps were not smoothed.", "Gaussian"),
        ({"contrasts": ["AD-CN"]}, "The following contrast was examined: AD-CN.", None),
        ({"contrasts": ["AD-CN", "MCI-CN"]}, "The following contrasts were examined: AD-CN and MCI-CN.", None),
        ({"shap": {"supported": False}}, "reported but not interpreted", None),
        ({"shap": {"supported": True, "model": "ridge"}}, "(ridge, chosen by nested", "not interpreted"),
        ({}, "The random seed was 0", "SHAP"),
    ],
)  # fmt: skip
def test_branches_of_the_group_level(tmp_path, summary, said, unsaid):
    text = group_text(tmp_path, **summary)
    assert said in text
    assert unsaid is None or unsaid not in text


@pytest.mark.parametrize("atlas", ATLASES, ids=lambda atlas: atlas.name)
def test_an_atlas_by_name_has_its_citations_and_its_own_way_to_the_template(tmp_path, atlas):
    text = group_text(tmp_path, atlas=atlas.name, atlas_asked=atlas.name.lower())
    assert f"the {atlas.name} atlas [{'; '.join(f'@{key}' for key in atlas.citations)}] (" in text
    assert f"), {atlas.way}." in text
    assert ("Colin27" in text) is atlas.name.startswith("AAL")


def test_given_maps_lie_in_the_space_that_their_names_say(tmp_path):
    write_scan(tmp_path, "01", Precomputed=True)
    for path in (tmp_path / "sub-01" / "anat").iterdir():
        path.rename(path.with_name(path.name.replace("2009aSym", "2009cAsym")))
    assert "in the space of the MNI152NLin2009cAsym template" in text_of(tmp_path, derivatives=("/data/smriprep",))
    write_scan(tmp_path, "02", Precomputed=True)
    assert "in the space of the MNI152NLin2009aSym template" in text_of(tmp_path, derivatives=("/data/smriprep",))


@pytest.mark.parametrize(("files", "said"), [((), None), (("vbm_AD-CN_t",), "at each voxel"),
                                               (("vbm_AD-CN_t", "vbm_AD-CN_tfce_logp"), "[@tfce]")])  # fmt: skip
def test_the_voxelwise_test_is_named_where_it_was_run(tmp_path, files, said):
    (tmp_path / "group").mkdir()
    for name in files:
        (tmp_path / "group" / f"{name}.nii.gz").touch()
    text = group_text(tmp_path, contrasts=["AD-CN"], group_column="dx", n_permutations=20000)
    assert ("at each voxel" in text) == bool(files)
    assert ("over 5,000 permutations of the residuals" in text) == bool(files)
    assert said is None or said in text


@pytest.mark.parametrize("site", [None, "scanner"])
def test_three_groups_at_once_are_told_where_they_were_predicted(tmp_path, site):
    asked = {"contrasts": ["AD-CN", "MCI-CN"], "group_column": "dx", "site_column": site}
    said = "permuting the labels within sites and" if site else "permuting the labels and"
    assert "balanced accuracy for all groups" not in group_text(tmp_path, **asked)
    (tmp_path / "group" / "confusion.tsv").touch()
    text = group_text(tmp_path, **asked)
    assert f"The balanced accuracy for all groups was tested by {said} repeating all training." in text


def test_it_says_that_lrcp_is_a_reading(tmp_path):
    text = group_text(tmp_path)
    assert "documented reading" in text
    assert '"a cautionary tale" [@gorriz2026]' in text
    entry = read_bibliography(home() / "references.bib")["gorriz2026"]
    assert entry.fields["doi"] == "10.1142/S012906572650053X"
    assert "2509.03675" in entry.fields["note"]


def all_texts(tmp_path):
    """The text of every combination of the options that change a citation."""
    for n, (template, atlas, covariates, made, column, site) in enumerate(
        itertools.product(
            ("MNI152NLin2009aSym", "MNI152NLin6Asym"), [atlas.name for atlas in ATLASES], ([], ["age"]),
            (None, "sMRIPrep", "CAT12"), (None, "dx"), (None, "scanner"),
        )
    ):  # fmt: skip
        folder = tmp_path / str(n)
        derivatives = (folder / "given",) if made else ()
        for given in derivatives:
            given.mkdir(parents=True)
            (given / "dataset_description.json").write_text(json.dumps({"GeneratedBy": [{"Name": made}]}))
            write_scan(folder, "02", Precomputed=True)
        write_scan(folder, "01")
        (folder / "group").mkdir()
        for suffix in ("t", "tfce_logp"):
            (folder / "group" / f"vbm_AD-CN_{suffix}.nii.gz").touch()
        (folder / "group" / "summary.json").write_text(
            json.dumps(
                {"atlas_asked": atlas, "covariates": covariates, "template": template, "group_column": column,
                 "contrasts": ["AD-CN", "MCI-CN"] if column else [],
                 "shap": {"supported": True}} | ({"site_column": site, "harmonize": "combat"} if site else {})
            )
        )  # fmt: skip
        yield methods_text(describe_run(folder, {"derivatives": derivatives}))
        if n == 0:
            (folder / "phenotype").mkdir()
            (folder / "phenotype" / "deviations.tsv").write_text("participant_id\terror_p\nsub-01\t0.5\n")
            yield methods_text(describe_run(folder, {"derivatives": derivatives}))
            (folder / "sub-01").rename(folder / "01")
            yield from (methods_text(describe_run(folder, {"segmentation": name})) for name in SEGMENTERS_BY_NAME)


def test_every_citation_has_an_entry_and_every_entry_is_used(tmp_path):
    library = read_bibliography(home() / "references.bib")
    used = set().union(*(cited(text) for text in all_texts(tmp_path)))
    assert used - set(library) == set()
    assert set(library) - used == set()
    for entry in library.values():
        assert {"author", "title", "year"} <= set(entry.fields)


def test_no_gaps_and_no_doubled_marks(tmp_path):
    for text in all_texts(tmp_path):
        assert not re.search(r"  | [,.;]|\.\.|\(\)|\bNone\b|\]\w", text)


def test_files_agree(tmp_path):
    write_scan(tmp_path, "01")
    config = Config(bids_dir=tmp_path, output_dir=tmp_path, analysis_level="participant", smoothing_fwhm=5.0)
    paths = write_boilerplate(tmp_path, config)
    assert {path.name for path in paths.values()} == {f"CITATION.{e}" for e in ("md", "html", "tex", "bib")}
    keys = cited(paths["md"].read_text().split("## References")[0])
    assert set(read_bibliography(paths["bib"])) == set(keys)
    tex = paths["tex"].read_text()
    assert set(",".join(re.findall(r"\\citep\{([^}]+)\}", tex)).split(",")) == set(keys)
    page = paths["html"].read_text()
    assert set(re.findall(r'href="#ref-([^"]+)"', page)) == set(re.findall(r'id="ref-([^"]+)"', page)) == set(keys)
    for path in ("md", "html", "tex"):
        assert "kernel of 5 mm" in paths[path].read_text()


def test_the_newest_configuration_counts(tmp_path):
    import os

    (tmp_path / "logs").mkdir()
    for age, (name, fwhm) in enumerate((("a", 3), ("b", 4))):
        path = tmp_path / "logs" / f"{name}.toml"
        path.write_text(f'analysis-level = "participant"\nsmoothing-fwhm = {fwhm}.0\n')
        os.utime(path, (1000 + age, 1000 + age))
    assert "kernel of 4 mm" in methods_text(describe_run(tmp_path))


def test_names_of_columns_cannot_become_markup(tmp_path):
    text = group_text(tmp_path, covariates=["<script>alert(1)</script>"], group_column="a_b & 50%")
    library = read_bibliography(home() / "references.bib")
    assert "<script" not in html_page(text, library)
    tex = tex_document(text)
    assert r"a\_b \& 50\%" in tex


def test_tex_is_balanced(tmp_path):
    tex = tex_document(group_text(tmp_path, covariates=["x_1"]))
    bare = re.sub(r"\\[{}]", "", tex)
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"(?<!\\)[&%#]", tex)


def test_markdown_reads_as_headings_and_paragraphs(tmp_path):
    tokens = [token.type for token in MarkdownIt().parse(group_text(tmp_path)) if token.nesting >= 0]
    assert set(tokens) <= {"heading_open", "paragraph_open", "inline"}
