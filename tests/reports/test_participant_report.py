"""The page of a participant, from files on disk."""

import re

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sample_scans import SHAPE, draw_page, image, template, write_scan

from bids_app.bids.files import write_json
from bids_app.errors import NoInputError
from bids_app.reports.participant import build_participant_report
from bids_app.reports.participant_figures import draw_jacobian, make_scan_figures
from bids_app.reports.scan_outputs import find_scans
from bids_app.reports.scan_summary import scan_summary

KINDS = {"brainmask", "tissues", "normalisation", "jacobian", "modulated", "reconstruction"}


def test_all_reportlets_and_nothing_from_outside(two_sessions):
    page = (two_sessions / "sub-01.html").read_text()
    made = {path.name.split("_desc-")[1].split("_")[0] for path in (two_sessions / "sub-01" / "figures").iterdir()}
    assert made >= KINDS | {"summary"}
    assert len(re.findall(r'<img [^>]*src="data:image/png;base64,', page)) == 2 * (
        len(KINDS) + 1
    )  # the flicker has two
    assert re.findall(r'src="(?!data:)', page) == []
    assert "@import" not in page
    assert not re.search(r"<link(?! rel=\"icon\" href=\"data:,\")", page)


def test_every_picture_says_what_it_shows_in_words(two_sessions):
    page = (two_sessions / "sub-01.html").read_text()
    assert all(re.search(r'alt="[^"]{10,}"', tag) for tag in re.findall(r"<img [^>]*>", page))


def test_sessions_have_sections_of_their_own(two_sessions):
    page = (two_sessions / "sub-01.html").read_text()
    assert re.findall(r'<section id="(scan-[^"]+)"', page) == ["scan-sub01-ses1", "scan-sub01-ses2"]
    first = page.split('id="scan-sub01-ses2"')[0]
    assert first.count("flicker-stack") - page.split("<main")[0].count("flicker-stack") == 1


def test_a_plain_scan_beside_one_with_an_acquisition(tmp_path):
    write_scan(tmp_path, "07")
    write_scan(tmp_path, "07", acquisition="fast", verdict="look")
    page = draw_page(tmp_path, "07").read_text()
    plain, fast = page.split('<section id="scan-sub07-acqfast"')
    assert plain.count('class="banner pass"') == 1
    assert fast.count('class="banner look"') == 1
    assert "banner look" not in plain.split("<main")[1]


@pytest.mark.parametrize("above", ["ses-2024/run-3", "anat", "a [x], & ü"])
def test_the_folder_of_the_output_is_no_entity_of_the_scan(tmp_path, above):
    folder = tmp_path / above / "out"
    folder.mkdir(parents=True)
    write_scan(folder, "1+a", acquisition="x+y", chunk="1")
    write_scan(folder, "1+a", acquisition="x+y", chunk="2", verdict="look")
    page = draw_page(folder, "1+a").read_text()
    first, second = page.split('<section id="scan-sub1+a-acqx+y-chunk2"')
    assert first.count('class="banner pass"') == second.count('class="banner look"') == 1
    assert page.count("flicker-stack") > 2


def test_reasons_cannot_become_markup(tmp_path):
    write_scan(tmp_path, "01", verdict="fail")
    page = draw_page(tmp_path).read_text()
    assert "<script>alert(3)" not in page
    assert "&lt;script&gt;alert(3)" in page


def test_of_two_sets_of_options_the_page_shows_the_last_one_whole(tmp_path):
    """There is one place for images in the scan's own space: the page must not show one set beside the other."""
    anat = tmp_path / "sub-01" / "anat"
    anat.mkdir(parents=True)
    for res, made in (("3", "one"), ("4", "two")):
        for rest in ("desc-preproc_T1w", "label-GM_desc-modulated_probseg"):
            (anat / f"sub-01_space-MNI152Lab_res-{res}_{rest}.nii.gz").touch()
        write_json(
            anat / f"sub-01_space-MNI152Lab_res-{res}_label-GM_desc-modulated_probseg.json", {"Fingerprint": made}
        )
    for made, res in ((None, "3"), ("two", "4"), ("one", "3"), ("three", "3")):
        if made:
            (anat / "sub-01_label-GM_probseg.nii.gz").touch()
            write_json(anat / "sub-01_label-GM_probseg.json", {"Fingerprint": made})
            (anat / "sub-01_space-MNI152Lab_res-3_label-GM_desc-recon_probseg.nii.gz").touch()
        (scan,) = find_scans(tmp_path, "01")
        assert f"_res-{res}_" in scan.modulated.name
        assert f"_res-{res}_" in scan.find("t1w_std").name
        assert (scan.find("gm") is None) is (made is None)
        assert (scan.find("recon") is None) is (made in (None, "two"))  # made by the first set alone


def test_without_template_and_jacobian_the_rest_is_there(tmp_path):
    write_scan(tmp_path, "01")
    (scan,) = find_scans(tmp_path, "sub-01")
    made = {path.name.split("_desc-")[1].split("_")[0] for path in make_scan_figures(scan, None)}
    assert made == KINDS - {"normalisation", "jacobian"}


def test_volumes_are_drawn_over_that_of_the_whole_brain(tmp_path):
    """A small and a large head of one shape look alike; what is smaller on one side is brown, larger purple."""
    write_scan(tmp_path, "01")
    (scan,) = find_scans(tmp_path, "sub-01")
    across = np.arange(SHAPE[0])[:, None, None]
    uneven = np.where(across < 15, 0.6, np.where(across > 25, 1.7, 1))

    def picture(determinant):
        file = tmp_path / "jacobian.nii.gz"
        nib.save(image(np.broadcast_to(determinant, SHAPE).astype(np.float32)), file)
        with Image.open(draw_jacobian(scan, file, template())) as drawn:
            return np.asarray(drawn.convert("RGB")).astype(int)[:-70]  # without the colours' scale

    small, large, sides = (picture(d) for d in (0.5, 2.0, 0.5 * uneven))
    np.testing.assert_array_equal(small, large)
    red, blue = sides[..., 0], sides[..., 2]
    assert (red - blue > 60).sum() > 1000  # brown
    assert (blue - red > 30).sum() > 1000  # purple
    assert (np.abs(small[..., 0] - small[..., 2]) < 10).all()


def test_a_second_page_has_the_same_scans(tmp_path):
    write_scan(tmp_path, "01", session="1")
    first = draw_page(tmp_path).read_text()
    again = build_participant_report(tmp_path, "01").read_text()
    assert re.findall(r'<section id="([^"]+)"', again) == re.findall(r'<section id="([^"]+)"', first)


def test_reports_only_keeps_the_jacobian_of_the_first_run(tmp_path):
    write_scan(tmp_path, "01")
    draw_page(tmp_path)
    assert "Local volume (Jacobian" in build_participant_report(tmp_path, "01").read_text()


def test_precomputed_map_only(tmp_path):
    prefix = write_scan(tmp_path, "01")
    anat = tmp_path / "sub-01" / "anat"
    for path in anat.iterdir():
        if not path.name.endswith("_res-4_label-GM_probseg.nii.gz"):
            path.unlink()
    (scan,) = find_scans(tmp_path, "01")
    assert scan.modulated.name == f"{prefix}_space-MNI152NLin2009aSym_res-4_label-GM_probseg.nii.gz"
    assert [path.name for path in make_scan_figures(scan, None)] == [f"{prefix}_desc-modulated_T1w.png"]
    assert "<strong>none</strong>: no transform" in scan_summary(scan)


def test_one_of_several_maps_is_found_exactly(tmp_path):
    write_scan(tmp_path, "01")
    (scan,) = find_scans(tmp_path, "01")
    assert scan.find("t1w").name == "sub-01_desc-preproc_T1w.nii.gz"
    assert scan.find("t1w_std").name == "sub-01_space-MNI152NLin2009aSym_res-4_desc-preproc_T1w.nii.gz"
    assert scan.find("gm").name == "sub-01_label-GM_probseg.nii.gz"
    assert scan.find("smoothed") is None


def test_the_mask_outline_lies_on_the_brain(tmp_path):
    write_scan(tmp_path, "01")
    (scan,) = find_scans(tmp_path, "01")
    make_scan_figures(scan, None)
    pixels = np.asarray(Image.open(scan.figure("brainmask", ".png")).convert("RGB")).astype(int)
    orange = (pixels[..., 0] - pixels[..., 2] > 120) & (pixels[..., 0] > 180)
    # In a middle tile of the first row the outline is a closed curve round the middle of the tile.
    tile = orange[: pixels.shape[0] // 3, 3 * pixels.shape[1] // 7 : 4 * pixels.shape[1] // 7]
    rows, columns = np.nonzero(tile)
    assert rows.size > 50
    assert abs(rows.mean() / tile.shape[0] - 0.5) < 0.1
    assert abs(columns.mean() / tile.shape[1] - 0.5) < 0.1
    assert not tile[tile.shape[0] // 2, tile.shape[1] // 2]


def test_hypointensities_are_outlined_where_they_are(tmp_path):
    write_scan(tmp_path, "01")
    (scan,) = find_scans(tmp_path, "01")

    def pink():
        make_scan_figures(scan, None)
        pixels = np.asarray(Image.open(scan.figure("tissues", ".png")).convert("RGB")).astype(int)
        red, green, blue = np.moveaxis(pixels, -1, 0)
        return (red - green > 50) & (blue - green > 25) & (red - blue > 10)

    with_spot = pink()
    assert with_spot.sum() > 30
    scan.find("hypointensities").unlink()
    assert pink().sum() < 0.1 * with_spot.sum()


def test_cohort_gives_a_percentile(two_sessions):
    (scan, _) = find_scans(two_sessions, "01")
    text = scan_summary(scan, pd.DataFrame({"GMVolume": [600.0, 620, 630, 650], "QualityVerdict": "pass"}))
    assert "median 625 of n = 4; this scan at percentile 75" in text


def test_what_the_cohort_says_stands_under_the_verdict(two_sessions):
    (first, second) = find_scans(two_sessions, "01")
    sessions = [f"ses-{scan.entities['ses']}" for scan in (first, second)]
    cohort = pd.DataFrame(
        {
            "participant_id": ["sub-01", "sub-01", "sub-02"],
            "session_id": [*sessions, sessions[0]],
            "CohortReasons": [None, "noise <of> 0.2", "another's"],
        }
    )
    assert "Compared with its cohort" not in scan_summary(first, cohort)
    assert "Compared with its cohort: noise &lt;of&gt; 0.2" in scan_summary(second, cohort)


def test_limits_of_the_sidecar_win(tmp_path):
    write_scan(tmp_path, "01", QualityLimits={"MaskOverlap": [0.99, None]})
    (scan,) = find_scans(tmp_path, "01")
    assert re.search(r"0\.970 Dice \(unusual\)", scan_summary(scan))


def test_errors_are_shown_and_escaped(tmp_path):
    write_scan(tmp_path, "01")
    logs = tmp_path / "sub-01" / "log" / "run"
    logs.mkdir(parents=True)
    (logs / "crash-20260101-node.txt").write_text("Node: x\n<img src=x onerror=alert(1)>")
    page = draw_page(tmp_path).read_text()
    assert "crash-20260101-node.txt" in page
    assert "&lt;img src=x onerror" in page
    assert "<img src=x" not in page


def test_unknown_participant(tmp_path):
    with pytest.raises(NoInputError, match="nothing to report"):
        build_participant_report(tmp_path, "99")


def test_the_same_files_give_the_same_page(tmp_path):
    write_scan(tmp_path, "01")
    first = draw_page(tmp_path).read_bytes()
    for path in (tmp_path / "sub-01" / "figures").iterdir():
        path.unlink()
    assert draw_page(tmp_path).read_bytes() == first
