"""One declaration of each option serves the parser, the TOML file and the fingerprint of a scan."""

import dataclasses
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_app.cli import build_parser, main, parse
from bids_app.config import options
from bids_app.errors import ConfigError, ScanError
from bids_app.option_values import memory_gb

POSITIONAL = ["/data/bids", "/data/out", "participant"]


def test_every_option_is_on_the_command_line_with_a_help_text():
    flags = {a.dest: a for a in build_parser()._actions}
    for declared in options():
        assert flags[declared.name].help.strip()
        assert f"--{declared.name.replace('_', '-')}" in flags[declared.name].option_strings


def test_labels_lose_their_prefixes():
    config = parse([*POSITIONAL, "--participant-label", "sub-01", "02", "--session-label", "ses-pre"])
    assert config.participant_label == ("01", "02")
    assert config.session_label == ("pre",)


def test_paths_become_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = parse(["bids", "out", "group", "-w", "scratch", "--atlas", "mine/atlas.nii.gz"])
    assert config.bids_dir == tmp_path / "bids"
    assert config.work_dir == tmp_path / "scratch"
    assert config.atlas == str(tmp_path / "mine/atlas.nii.gz")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--participant-label", "a/b"],
        ["--smoothing-fwhm", "-1"],
        ["--latent-dim", "0"],
        ["--skull-strip", "maybe"],
        ["--mem", "lots"],
        ["--nonsense"],
    ],
)
def test_wrong_usage_leaves_with_two(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        parse([*POSITIONAL, *arguments])
    assert left.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_saved_configuration_reads_back_the_same(tmp_path):
    first = parse(
        [
            *POSITIONAL,
            "--participant-label",
            "01",
            "--mem",
            "8G",
            "--resolution",
            "2",
            "--sloppy",
            "--covariates",
            "age",
            "sex",
            "-d",
            "/deriv/a",
            "/deriv/b",
            "-v",
        ]
    )
    file = tmp_path / "run.toml"
    file.write_text(first.to_toml())
    again = parse([*POSITIONAL, "--config-file", str(file)])
    assert dataclasses.replace(again, config_file=None) == first


def test_command_line_wins_over_the_file(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('latent-dim = 8\natlas = "AAL3"\n')
    config = parse([*POSITIONAL, "--config-file", str(file), "--latent-dim", "16"])
    assert (config.latent_dim, config.atlas) == (16, "AAL3")


@pytest.mark.parametrize(
    "text", ["latent-dims = 8", "latent-dim = 'many'", "sloppy = 'yes'", "device = 'tpu'", "x = ["]
)
def test_wrong_configuration_file_says_so(text, tmp_path, capsys):
    file = tmp_path / "run.toml"
    file.write_text(text)
    assert main([*POSITIONAL, "--config-file", str(file)]) == 78
    message = capsys.readouterr().err
    assert str(file) in message
    assert "Traceback" not in message


def test_missing_configuration_file_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        parse([*POSITIONAL, "--config-file", str(tmp_path / "none.toml")])


def test_only_scientific_options_change_the_fingerprint_of_a_scan():
    base = parse(POSITIONAL).scientific_hash()
    assert parse([*POSITIONAL, "--nprocs", "7", "-w", "/elsewhere", "--latent-dim", "3"]).scientific_hash() == base
    assert parse([*POSITIONAL, "--resolution", "1.5"]).scientific_hash() == base
    for changed in (["--resolution", "2"], ["--template", "X"], ["--random-seed", "1"], ["--smoothing-fwhm", "6"]):
        assert parse([*POSITIONAL, *changed]).scientific_hash() != base


@given(st.floats(0.01, 1e4), st.sampled_from(["K", "M", "G", "T", "", "GB", "gib"]))
def test_memory_is_proportional_to_its_number(number, unit):
    assert memory_gb(f"{2 * number:.6f}{unit}") == pytest.approx(2 * memory_gb(f"{number:.6f}{unit}"), rel=1e-3)


def test_errors_survive_the_way_between_processes():
    import pickle

    error = ScanError("the scan is empty", file="a.nii", remedy="look at it")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert "a.nii" in str(again)


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['latentatlas', '--help']\n"
        "from bids_app.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'torch', 'nipype', 'nibabel', 'pandas', 'ants', 'bids'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 5  # generous: the import list above is the real guard


def test_a_model_brings_its_architecture(tmp_path, capsys):
    (tmp_path / "bids").mkdir()
    command = [
        str(tmp_path / "bids"),
        str(tmp_path / "out"),
        "group",
        "--model",
        str(tmp_path),
        "--architecture",
        "conv",
    ]
    assert main(command) == 78
    assert "omit --architecture" in capsys.readouterr().err
