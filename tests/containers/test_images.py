"""The images, run as people run them, against the bare installation."""

import json
import os
import subprocess
import time

import pytest

from .conftest import GROUP, PARTICIPANT, SCAN_IMAGES, same_images, same_tables, validate

NOBODY = 12345
#: This machine may choose kernels of its linear algebra by these; without them the digits differ.
KERNELS = [name for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE") if name in os.environ]


class Docker:
    """No network, nothing writable but three mounted folders, a user without name or home, little shared memory."""

    def __init__(self):
        self.image = os.environ["LATENTATLAS_IMAGE"]

    def run(self, *arguments, options=("--tmpfs", "/tmp"), mounts=(), **more):
        command = ["docker", "run", "--rm", "--network", "none", "--read-only", "--user", f"{NOBODY}:{NOBODY}",
                   "--shm-size", "64m", "--memory", "6g", *options]  # fmt: skip
        for name in KERNELS:
            command += ["-e", name]
        for source, target, mode in mounts:
            command += ["-v", f"{source}:{target}:{mode}"]
        return call([*command, self.image, *arguments], **more)

    def shell(self, script: str):
        return call(["docker", "run", "--rm", "--network", "none", "--entrypoint", "sh", self.image, "-c", script])


class Apptainer:
    """Nothing of the host but the mounted folders: no home, no variables, no network."""

    def __init__(self):
        self.image = os.environ["LATENTATLAS_SIF"]

    def run(self, *arguments, options=(), mounts=(), **more):
        command = ["apptainer", "run", "--containall", "--no-home", "--net", "--network", "none", *options]
        if os.getuid() == 0:
            command.insert(2, "--no-privs")
        for name in KERNELS:
            command += ["--env", f"{name}={os.environ[name]}"]
        for source, target, mode in mounts:
            command += ["-B", f"{source}:{target}:{mode}"]
        return call([*command, self.image, *arguments], **more)

    def shell(self, script: str):
        privileges = ["--no-privs"] if os.getuid() == 0 else []
        return call(["apptainer", "exec", *privileges, "--containall", "--no-home", self.image, "sh", "-c", script])


def call(command, code=0):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=900)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module", params=["docker", "apptainer"])
def engine(request):
    variable = {"docker": "LATENTATLAS_IMAGE", "apptainer": "LATENTATLAS_SIF"}[request.param]
    if variable not in os.environ and "LATENTATLAS_SKIP_ENGINE" not in os.environ:
        pytest.skip(f"{variable} is not set")
    return {"docker": Docker, "apptainer": Apptainer}[request.param]() if variable in os.environ else None


@pytest.fixture
def folders(tmp_path):
    """An output and a work folder that the user of the container may write."""
    mounts = []
    for name in ("out", "work"):
        (tmp_path / name).mkdir()
        if os.getuid() == 0:
            os.chown(tmp_path / name, NOBODY, NOBODY)
        (tmp_path / name).chmod(0o777)
        mounts.append((tmp_path / name, f"/{name}", "rw"))
    return tmp_path, mounts


def test_participant_level_as_bare(engine, scans, bare_scans, folders):
    root, mounts = folders
    engine.run("/in", "/out", *PARTICIPANT, "-w", "/work", mounts=[(scans, "/in", "ro"), *mounts])
    assert same_images(bare_scans, root / "out") == 2 * SCAN_IMAGES
    validate(root / "out")
    for label in (p.name for p in scans.glob("sub-*")):
        assert (root / "out" / f"{label}.html").stat().st_size > 5000
    generated = json.loads((root / "out" / "dataset_description.json").read_text())["GeneratedBy"][0]
    assert generated["Container"]["Type"] == type(engine).__name__.lower()
    assert generated["Container"]["Tag"] == f"latentatlas:{generated['Version']}"
    if isinstance(engine, Docker):
        assert {p.stat().st_uid for p in (root / "out").rglob("*")} == {NOBODY}


def test_group_level_as_bare(engine, maps, bare_group, folders):
    root, mounts = folders
    engine.run("/in", "/out", *GROUP, *maps[1], "-w", "/work", mounts=[(maps[0], "/in", "ro"), *mounts])
    assert same_tables(bare_group, root / "out") > 10
    assert (root / "out" / "group.html").stat().st_size > 50_000
    validate(root / "out")


def test_help_answers_at_once(engine):
    engine.run("--help")
    start = time.monotonic()
    assert "participant" in engine.run("--help").stdout
    assert time.monotonic() - start < 5
    assert "--effect-sd" in engine.shell("latentatlas-plan --help").stdout


def test_nothing_is_left_of_the_building(engine):
    for tool in ("pip", "pip3", "gcc", "cc", "make", "git"):
        assert engine.shell(f"command -v {tool} || echo none").stdout == "none\n"
    assert engine.shell("find /opt -name '*.whl'; find /opt ! -type l ! -perm -o=r").stdout == ""


def test_a_template_that_is_not_there_is_named(engine, scans, folders):
    _, mounts = folders
    done = engine.run("/in", "/out", *PARTICIPANT, "-w", "/work", "--template", "MNI152NLin2009cAsym",
                      mounts=[(scans, "/in", "ro"), *mounts], code=69)  # fmt: skip
    assert "MNI152NLin2009cAsym" in done.stderr
    assert "Traceback" not in done.stderr


def test_input_that_must_not_be_written_stays_as_it_was(engine, scans, folders):
    _, mounts = folders
    done = engine.run("/in", "/in/derivatives/x", *PARTICIPANT, "-w", "/work", mounts=[(scans, "/in", "ro"), *mounts],
                      code=73)  # fmt: skip
    assert "cannot be" in done.stderr
    assert not (scans / "derivatives").exists()


def test_without_any_folder_for_temporary_files(engine, maps, folders):
    if not isinstance(engine, Docker):
        pytest.skip("Apptainer always brings a /tmp")
    root, mounts = folders
    label = sorted(p.name for p in maps[0].glob("sub-*"))[0]
    engine.run("/in", "/out", "participant", "--participant-label", label, "-d", "/in", "-w", "/work", options=(),
               mounts=[(maps[0], "/in", "ro"), *mounts])  # fmt: skip
    assert (root / "out" / f"{label}.html").exists()


def test_docker_stop_is_heard(engine, scans, folders):
    if not isinstance(engine, Docker):
        pytest.skip("a matter of Docker")
    _, mounts = folders
    command = ["docker", "run", "-d", "--network", "none", "--user", str(NOBODY)]
    for source, target, mode in [(scans, "/in", "ro"), *mounts]:
        command += ["-v", f"{source}:{target}:{mode}"]
    name = call([*command, engine.image, "/in", "/out", *PARTICIPANT, "-w", "/work"]).stdout.strip()
    time.sleep(8)
    call(["docker", "stop", "--time", "60", name])
    code = call(["docker", "wait", name]).stdout.strip()
    said = call(["docker", "logs", name]).stderr
    call(["docker", "rm", name])
    assert code == "130"
    assert "run the same command again" in said


def test_the_docker_image_is_small_and_labelled(engine):
    if not isinstance(engine, Docker):
        pytest.skip("a matter of Docker")
    facts = json.loads(call(["docker", "image", "inspect", engine.image]).stdout)[0]
    labels = facts["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "LatentAtlas"
    assert labels["org.opencontainers.image.version"] == engine.run("--version").stdout.split()[-1]
    assert facts["Config"]["Entrypoint"] == ["latentatlas"]
    has_cuda = "nvidia" in engine.shell("ls /opt/latentatlas/lib/python3*/site-packages").stdout
    assert has_cuda or facts["Size"] < 3e9
