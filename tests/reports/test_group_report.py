"""The group page, from tables on disk."""

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from changed_cohort import change, enlarge, keep

from bids_app.bids.files import write_json
from bids_app.bids.tables import read_tsv, write_tsv
from bids_app.errors import NoInputError
from bids_app.reports.group import PARTS, build_group_report
from bids_app.reports.group_results import read_group_results
from bids_app.reports.interactive import _views
from bids_app.reports.reconstructions import epochs_figure, epochs_shown, error_figure
from bids_app.reports.region_charts import split_figure
from bids_app.reports.sections_overview import cohort as cohort_section
from bids_app.reports.sections_overview import quality_outliers
from bids_app.reports.sections_regions import split_values, voxels
from bids_app.schema.claims import GRADES, OVERALL
from bids_app.schema.labels import KEPT, LOST, NEITHER, NOT_CARRIED, PARTLY
from bids_app.schema.names import group_slugs


def sections(page):
    return re.findall(r'<section id="([^"]+)"', page)


def test_every_section_is_there_in_order(cohort):
    page = (cohort / "group.html").read_text()
    asked_for = [name for name, *_ in PARTS if name != "strangeness"]  # that is for a model from elsewhere
    assert sections(page) == [*asked_for, "truth", "methods", "provenance"]
    assert "could not be drawn" not in page
    assert "Not computed" not in page


def test_everything_is_inside(cohort):
    page = (cohort / "group.html").read_text()
    body = page[page.index("<body") :]
    assert re.findall(r'\ssrc="(?!data:)[^"]*"', body) == []
    assert not re.search(r"<script[^>]+src", page)
    assert "url(http" not in page
    assert "sendDataToCloud" not in page.split("</script>")[-4]
    assert page.count("plotly.js v") == 1
    assert len(page) < 20e6


def test_every_caption_says_the_three_things(cohort):
    page = (cohort / "group.html").read_text()
    captions = re.findall(r'<div class="caption">(.*?)</div>', page, re.S)
    assert len(captions) > 15
    for caption in captions:
        for word in ("What it shows:", "How to read it:", "When not to trust it:"):
            assert word in caption


def test_every_picture_has_words(cohort):
    page = (cohort / "group.html").read_text()
    assert all(re.search(r'alt="[^"]{4,}"', tag) for tag in re.findall(r"<img [^>]*>", page))


def test_text_of_the_sidecars_stays_text(cohort):
    page = (cohort / "group.html").read_text()
    assert "<img src=x" not in page
    assert "half &lt;img src=x&gt; is missing" in page
    assert "&lt;b&gt;low&lt;/b&gt; contrast" in page


POISON = (
    "</script><script>alert(9)</script>",
    "<img src=x onerror=alert(9)>",
    '" onmouseover="alert(9)',
    "{{ 7*7 }}{% raw %}",
    "--><svg onload=alert(9)>",
    "$\\frac{x$",
    "a\x08b",
    "__proto__",
    "x" * 300,
)


def test_text_of_the_dataset_cannot_inject(own_cohort):
    people = own_cohort / "phenotype" / "cohort.tsv"
    change(people, diagnosis=lambda d: [POISON[i % len(POISON)] for i in d.index], **{text: text for text in POISON})
    for name in ("lrcp_regions", "sam_regions", "validation", "verdicts", "baselines"):
        path = own_cohort / "group" / f"{name}.tsv"
        texts = {"contrast", "claim", "method", "sentence", "features"} & set(read_tsv(path))
        change(path, **dict.fromkeys(texts, lambda column: column.astype(str) + "".join(POISON)))
    page = build_group_report(own_cohort).read_text()
    for harmful in ("<script>alert(9)", "<img src=x", 'onmouseover="alert', "<svg onload"):
        assert harmful not in page
    assert "could not be drawn" not in page
    assert "49{%" not in page
    plots = list((own_cohort / "group" / "figures").glob("*.svg"))
    assert len(plots) > 5
    for plot in plots:
        assert "mathdefault" not in plot.read_text()  # a formula that nobody set
        ElementTree.parse(plot)  # a browser draws nothing of an SVG that is not well-formed


def test_a_thousand_participants_make_a_page_that_opens(own_cohort):
    enlarge(own_cohort, n=1000, latents=64)
    assert len(read_group_results(own_cohort).scans) == 1000
    page = build_group_report(own_cohort)  # without brain pictures, which do not grow with the cohort
    assert "could not be drawn" not in page.read_text()
    assert page.stat().st_size < 15e6


def test_verdicts_come_first_and_are_graded(cohort, own_cohort):
    page = (cohort / "group.html").read_text()
    first = page[page.index("<main") : page.index('<section id="cohort"')]
    for grade in set(read_tsv(cohort / "group" / "verdicts.tsv")["verdict"]):
        assert f'<span class="grade {grade.replace(" ", "-")}">{grade}</span></td>' in first
    assert "held to 5 % over all its contrasts (Holm). There is no correction" in first
    assert f"supported in {100 * OVERALL:.0f} % of simulated studies" in first
    summary = own_cohort / "group" / "summary.json"
    summary.write_text(json.dumps({**json.loads(summary.read_text()), "primary": "AD-CN"}))
    grades = [grade.name for grade in GRADES] * 4
    change(own_cohort / "group" / "verdicts.tsv", verdict=lambda column: grades[: len(column)])
    page = build_group_report(own_cohort).read_text()
    assert "AD-CN, specified in advance, is held to 5 % on its own" in page
    for grade in GRADES:
        assert f'<span class="grade {grade.style}">{grade.name}</span></td>' in page


def test_each_file_may_be_missing(cohort, own_cohort):
    whole = set(sections((cohort / "group.html").read_text()))
    gone = {
        "verdicts": "verdicts",
        "sam_regions": "sam",
        "baselines": "baselines",
        "shap_regions": "shap",
        "validation": "validation",
    }
    for table in gone:
        (own_cohort / "group" / f"{table}.tsv").unlink()
    page = build_group_report(own_cohort).read_text()
    assert set(sections(page)) == whole - set(gone.values()) - {"truth", "maps"}
    said = re.search(r"Not computed in this run: (.*?)\.</p>", page).group(1).split(", ")
    assert said == [title for name, title, _ in PARTS if name in {*gone.values(), "maps"}]


def test_summary_alone_is_enough(tmp_path):
    (tmp_path / "group").mkdir()
    (tmp_path / "group" / "summary.json").write_text(json.dumps({"n_scans": 3, "n_participants": 3}))
    assert "3 scans of 3 participants" in build_group_report(tmp_path).read_text()


def test_nothing_to_report(tmp_path):
    with pytest.raises(NoInputError):
        build_group_report(tmp_path)


def test_an_odd_table_costs_one_section_only(own_cohort):
    (own_cohort / "group" / "validation.tsv").write_text("claim\tmethod\nx\ty\n")
    page = build_group_report(own_cohort).read_text()
    assert {"verdicts", "baselines", "lrcp"} <= set(sections(page))


def test_unsupported_shap_is_grey_and_says_why(cohort, own_cohort):
    shutil.copytree(cohort, own_cohort, ignore=shutil.ignore_patterns("lrcp_*", "sam_*"), dirs_exist_ok=True)
    for name in ("lrcp_regions", "sam_regions"):
        (own_cohort / "group" / f"{name}.tsv").unlink()
    summary = own_cohort / "group" / "summary.json"
    facts = json.loads(summary.read_text())
    facts["shap"]["supported"] = True
    summary.write_text(json.dumps(facts))
    verdicts = own_cohort / "group" / "verdicts.tsv"
    change(verdicts, verdict=lambda grade: grade.mask(read_tsv(verdicts)["claim_id"] == "error_explained", "supported"))
    assert "unsupported" not in build_group_report(own_cohort).read_text().split('<section id="shap"')[1]
    facts["shap"] |= {"supported": False, "reason": "the model explains none of the held-out error (R² = −0.04)"}
    summary.write_text(json.dumps(facts))
    page = build_group_report(own_cohort).read_text()
    part = page[page.index('<section id="shap"') : page.index('<section id="validation"')]
    assert "The model explains none of the held-out error (R² = −0.04)." in part
    assert part.count("unsupported") == 2


def test_truth_is_said_in_words(cohort, planted):
    page = (cohort / "group.html").read_text()
    part = page[page.index('<section id="truth"') :]
    table = pd.read_csv(cohort / "group" / "lrcp_regions.tsv", sep="\t")
    known = pd.read_csv(planted, sep="\t")
    truth = set(known["index"][known["AD"] != 0])
    contrasts = table["contrast"].unique()
    assert len(contrasts) == 2
    for contrast in contrasts:
        ranked = table[table["contrast"] == contrast].sort_values("lrcp", ascending=False)["index"].to_list()
        found = len(truth & set(ranked[: len(truth)]))
        # The probability that a planted region ranks above another one, counted pair by pair.
        pairs = [ranked.index(a) < ranked.index(b) for a in truth for b in set(ranked) - truth]
        assert f"<strong>{found}</strong> are planted" in part
        assert f"<strong>{np.mean(pairs):.2f}</strong> (AUROC" in part


def test_outliers_of_quality():
    quality = pd.DataFrame(
        {
            "participant_id": [f"sub-{i}" for i in range(9)],
            "GMVolume": [600, 601, 602, 603, 604, 605, 606, 607, 300.0],
            "QualityVerdict": ["pass"] * 6 + ["look", "fail", "pass"],
            "QualityReasons": [""] * 6 + ["blurred", "folded", ""],
        }
    )
    found = quality_outliers(quality)
    # A far number without a reason is none: the group level judges, the page says what it found.
    assert found["participant_id"].to_list() == ["sub-7", "sub-6"]
    assert found["what stands out"].to_list() == ["folded", "blurred"]


def test_without_verdicts_nothing_stands_out():
    assert quality_outliers(pd.DataFrame({"participant_id": list("abcdef"), "TIV": 1500.0})).empty


def test_scans_are_joined_by_participant_and_session(own_cohort):
    for name in ("projections", "reconstruction", "quality", "latents", "regional_gm"):
        path = own_cohort / "phenotype" / f"{name}.tsv"
        table = read_tsv(path).set_index("participant_id")
        twice = pd.concat({"ses-1": table, "ses-2": table}, names=["session_id"]).reset_index()
        write_tsv(path, twice.iloc[::-1] if name == "quality" else twice)
    results = read_group_results(own_cohort)
    assert len(results.scans) == 96
    assert not results.scans.duplicated(["participant_id", "session_id"]).any()
    direct = results.tables["quality"].set_index(["participant_id", "session_id"])["TIV"]
    joined = results.scans.set_index(["participant_id", "session_id"])["TIV"]
    pd.testing.assert_series_equal(joined.sort_index(), direct.sort_index())
    assert "could not be drawn" not in build_group_report(own_cohort).read_text()


def test_eight_participants_and_one_group(own_cohort):
    keep(own_cohort, 8)
    change(own_cohort / "phenotype" / "cohort.tsv", diagnosis="CN", age=np.nan)
    assert "could not be drawn" not in build_group_report(own_cohort).read_text()


def test_na_groups_are_shown_as_missing(own_cohort):
    change(own_cohort / "phenotype" / "cohort.tsv", diagnosis=lambda groups: groups.where(groups.index > 3))
    assert "(missing)" in build_group_report(own_cohort).read_text()


def test_colours_of_the_beeswarm_follow_the_participant(own_cohort):
    from bids_app.reports.sections_regions import same_rows

    path = own_cohort / "phenotype" / "regional_gm.tsv"
    regional = pd.read_csv(path, sep="\t")
    shuffled = regional.sample(frac=0.7, random_state=0)
    like = pd.DataFrame({"participant_id": regional["participant_id"]})
    back = same_rows(shuffled, like)
    assert back["participant_id"].to_list() == regional["participant_id"].to_list()
    known = back["Precentral_L"].notna()
    assert known.sum() == len(shuffled)
    np.testing.assert_allclose(back["Precentral_L"][known], regional["Precentral_L"][known])


def test_the_same_tables_give_the_same_page(own_cohort, planted):
    first = build_group_report(own_cohort, planted).read_bytes()
    assert build_group_report(own_cohort, planted).read_bytes() == first


def test_every_entry_of_the_captions_is_used():
    import bids_app.reports.items as items

    folder = Path(items.__file__).parent
    code = "".join(path.read_text() for path in folder.glob("*.py"))
    for key, entry in items.captions().items():
        assert f'"{key}"' in code
        assert {"title", "shows", "read", "beware"} <= set(entry)


def test_the_course_of_training_says_whether_it_helped(cohort, own_cohort):
    for path in (cohort / "group").glob("reconstructions_by_epoch.*"):
        shutil.copy(path, own_cohort / "group")
    by_epoch = own_cohort / "group" / "reconstructions_by_epoch.tsv"
    change(by_epoch, epochs_in_use=0)
    assert "The model in use stayed at the linear path" in epochs_figure(read_group_results(own_cohort))[1]
    change(by_epoch, epochs_in_use=1)
    figure, sentence = epochs_figure(read_group_results(own_cohort))
    assert "trained for 1 epoch." in sentence
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    drawn = [t.split("\n")[0] for t in titles if "error" in t]
    assert drawn == ["linear path", "epoch 1 (in use)", "epoch 2"]
    falling = dict(zip([0, 1, 2, 4, 8, 16, 19, 32], [9, 8, 7, 6, 5, 4, 3, 2], strict=True))
    assert epochs_shown(falling, 0) == [0, 4, 8, 16, 19, 32]
    assert epochs_shown(falling, 2) == [0, 2, 8, 16, 19, 32]
    assert epochs_shown(falling, 7) == [0, 4, 8, 16, 19, 32]  # chosen over several trainings
    assert epochs_shown({**falling, 1: 1}, 0) == [0, 1, 8, 16, 19, 32]  # best after the first epoch
    assert epochs_shown({**falling, 1: 1}, 2) == [0, 1, 2, 16, 19, 32]
    assert epochs_shown({0: 1.0}, 0) == [0]


def test_error_maps_are_matched_to_groups_whatever_their_names(cohort, own_cohort):
    first, *_ = read_group_results(own_cohort).scans["diagnosis"]
    other = "CN" if first == "AD" else "AD"
    change(own_cohort / "phenotype" / "cohort.tsv", diagnosis=lambda groups: groups.replace(first, "late_MCI"))
    assert group_slugs(["late_MCI"]) == {"late_MCI": "late-MCI"}
    groups = ["A+", "A-", "A", "<65", ">=65", "≥65", "患者", "对照", "late MCI", "late_MCI", "CN", "cn", "?", "!"]
    assert len({name.lower() for name in group_slugs(groups).values()}) == len(groups)
    for group, name in ((first, "late-MCI"), (other, other)):
        shutil.copy(cohort / "group" / f"error_{group}.nii.gz", own_cohort / "group" / f"error_{name}.nii.gz")
    results = read_group_results(own_cohort)
    titles = [axes.get_title() for axes in error_figure(results).axes if axes.images]
    counts = results.scans["diagnosis"].value_counts()
    assert [t.split(":")[0] for t in titles[:2]] == [f"{g}, n = {counts[g]}" for g in ("late_MCI", other)]


def test_cluster_enhancement_is_told_beside_the_voxels_where_it_was_run(own_cohort):
    beside = own_cohort / "group" / "vbm_AD-CN_logp.nii.gz"
    assert "cluster enhancement" not in "".join(map(str, voxels(read_group_results(own_cohort))))
    image = nib.load(beside)
    enhanced = np.zeros(image.shape, np.float32)
    for count, said in (
        (0, "enhancement, no voxel is significant"),
        (10, "enhancement, 10 voxels of 4 mm (0.6 ml) are"),
    ):
        enhanced.flat[:count] = 1.31  # p of .049
        nib.Nifti1Image(enhanced, image.affine).to_filename(beside.with_name("vbm_AD-CN_tfce_logp.nii.gz"))
        assert said in "".join(map(str, voxels(read_group_results(own_cohort))))


def test_voxelwise_maps_go_by_their_contrasts_whatever_their_files_are_called(own_cohort):
    folder = own_cohort / "group"
    for suffix in ("_t.nii.gz", "_t.json", "_logp.nii.gz"):
        shutil.copy(folder / f"vbm_AD-CN{suffix}", folder / f"vbm_AD--CN{suffix}")
    for slug, contrast in (("AD-CN", "AD+-CN"), ("AD--CN", "AD--CN")):
        sidecar = folder / f"vbm_{slug}_t.json"
        write_json(sidecar, {**json.loads(sidecar.read_text()), "Contrast": contrast})
    titles = [item.title for item in voxels(read_group_results(own_cohort)) if item.desc.startswith("vbm")]
    assert any("AD+-CN" in title for title in titles)
    assert any("AD--CN" in title for title in titles)


def test_supervised_projections_are_named_after_their_contrasts():
    coordinates = ["pca_1", "pca_2", "pls_1", "pls_2", "pls_MCI--CN_1", "pls_MCI--CN_2"]
    titles = [view["title"] for view in _views(coordinates, ["MCI+-CN", "MCI--CN"])]
    assert titles == ["PCA: 1 and 2", "PLS (supervised), MCI+-CN: 1 and 2", "PLS (supervised), MCI--CN: 1 and 2"]
    assert _views(coordinates[:4], [])[1]["title"] == "PLS (supervised): 1 and 2"


def test_the_cohort_says_how_many_are_in_the_tests(own_cohort):
    said = "of them with all covariates (in the tests)"
    results = read_group_results(own_cohort)
    assert said not in str(next(iter(cohort_section(results))))
    change(own_cohort / "phenotype" / "cohort.tsv", age=lambda ages: [None, None, *ages[2:]])
    results = read_group_results(own_cohort)
    results.summary["covariates"] = ["age"]
    assert said in str(next(iter(cohort_section(results))))


def test_differences_are_drawn_as_kept_and_lost_and_those_that_are_not_there_pale():
    regions = pd.DataFrame(
        {"name": list("abc"), "label": [KEPT, NEITHER, LOST], "difference_ml": [-1.0, -3.0, -2.0],
         "difference_ml_low": [-2.0, -5.0, -3.0], "difference_ml_high": [0.0, -1.0, -1.0],
         "kept_ml": [-0.8, -1.0, -0.5], "lost_ml": [-0.2, -2.0, -1.5], "r2_within": [0.4, 0.0, -3.0]}
    )  # fmt: skip
    bars, followed = split_figure(regions, 20).axes
    assert [text.get_text() for text in bars.get_yticklabels()] == ["c", "a", "b"]  # those that differ come first
    widths = [
        [patch.get_width() for patch in container] for container in bars.containers if hasattr(container, "patches")
    ]
    assert widths == [[-0.5, -0.8], [-1.5, -0.2], [-1.0], [-2.0]]
    assert {patch.get_alpha() for patch in bars.patches[-2:]} == {0.3}
    assert [text.get_text() for text in followed.texts] == [LOST, KEPT, NEITHER]


def test_one_brain_shows_what_is_kept_and_what_is_lost():
    part = pd.DataFrame(
        {"index": range(5), "label": [KEPT, PARTLY, LOST, NOT_CARRIED, NEITHER], "kept_ml": [-2.0, 1, 1, 1, 1],
         "lost_ml": [-1.0, 1, -3, 1, 1]}
    )  # fmt: skip
    np.testing.assert_array_equal(split_values(part), [2, 1, -3, np.nan, np.nan])


def test_a_coarse_trial_is_called_one(own_cohort):
    summary = own_cohort / "group" / "summary.json"
    for sloppy in (True, False):
        summary.write_text(json.dumps({**json.loads(summary.read_text()), "sloppy": sloppy}))
        assert ("Trial run" in build_group_report(own_cohort).read_text()) == sloppy
