"""The command line: exit codes, what goes to which stream, and messages of one line."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner, Result

from pipeline.cli.main import app
from pipeline.database.settings import Settings

Run = Callable[..., Result]

STUDY = """
title = "a study"
recordings = ["simulated"]
images = "digits"
teachers = ["none"]
seeds = [0]

[training]
epochs = 1

[scales.smoke]
"""


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Words of every command below this one, or of this one if it is no group."""
    if not isinstance(command, TyperGroup):
        yield path
        return
    context = typer.Context(command)
    for name in command.list_commands(context):
        yield from leaves(command.get_command(context, name), (*path, name))


COMMANDS = sorted(leaves(typer.main.get_command(app)))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process; errors of our own making are not swallowed."""
    monkeypatch.setenv("NEUROTEACH_HOME", str(tmp_path / "home"))
    for name in ("DATABASE", "STORE", "SCHEMA", "DEVICE"):
        monkeypatch.delenv(f"NEUROTEACH_{name}", raising=False)

    def invoke(*arguments: str | Path) -> Result:
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def run_with_database(run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same with an empty database."""
    monkeypatch.setenv("NEUROTEACH_HOME", str(settings.home))
    monkeypatch.setenv("NEUROTEACH_DATABASE", settings.database)
    monkeypatch.setenv("NEUROTEACH_SCHEMA", settings.schema_name)
    monkeypatch.setenv("NEUROTEACH_DEVICE", "cpu")
    return run


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


def one_line_error(result: Result) -> str:
    """The message of a command that failed for a reason that a user can mend."""
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


# -- help and wrong use ------------------------------------------------------------------------


def test_there_is_a_command_for_every_step() -> None:
    first = {command[0] for command in COMMANDS}
    steps = {
        "init",
        "import",
        "export",
        "simulate",
        "experiment",
        "populate",
        "status",
        "results",
        "figure",
    }
    assert steps | {"database", "delete", "explain", "query", "search", "worker"} <= first


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_shows_an_example_of_itself(run: Run, command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert result.stderr == ""
    _, _, example = result.stdout.partition("Example")
    assert f"neuroteach {' '.join(command)}" in example


def test_help_needs_neither_torch_nor_datajoint() -> None:
    script = (
        "import sys, pipeline.cli.main; print({'torch', 'datajoint', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "set()\n"), done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("populate", "--wrong"),
        ("populate", "--workers", "0"),
        ("results", "noise", "--format", "xml"),
        ("figure", "nothing", "-o", "a.png"),
        ("figure", "noise"),
        ("import", "scan"),
        ("simulate", "--neurons", "many"),
        ("simulate", "--images", "30", "--repeated", "30"),
        ("dance",),
    ],
    ids=" ".join,
)
def test_wrong_use_ends_with_2_and_computes_nothing(
    run: Run, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: " in result.stderr
    assert not (tmp_path / "home").exists()


# -- mistakes that need no database to be found ------------------------------------------------


def test_a_missing_experiment_file_is_one_line(run: Run, tmp_path: Path) -> None:
    message = one_line_error(run("experiment", "add", tmp_path / "none.toml"))
    assert message == f"{tmp_path / 'none.toml'}: no such file; expected an experiment file (TOML)"


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("[training]", "[training", "not valid TOML"),
        ("scales.smoke", "scales.tiny", "scale 'smoke' is not among ['tiny']"),
        ("epochs = 1", "epoch = 1", "training.epoch: Extra inputs are not permitted"),
        ("epochs = 1", "epochs = 0", "training.epochs: "),
        ('["none"]', '["all"]', "teacher 'all': no part of this name is installed"),
    ],
)
def test_a_mistake_in_an_experiment_file_is_one_line(
    run: Run, study: Path, old: str, new: str, message: str
) -> None:
    study.write_text(STUDY.replace(old, new))
    said = one_line_error(run("experiment", "add", study, "--scale", "smoke"))
    assert said.startswith(str(study))
    assert message in said


@pytest.mark.parametrize(
    "variable, value",
    [("DATABASE", "sqlite:brain"), ("SCHEMA", "Not One"), ("DEVICE", "abacus")],
)
def test_a_wrong_setting_is_one_line_that_names_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(f"NEUROTEACH_{variable}", value)
    message = one_line_error(run("status"))
    assert message.startswith(f"{variable.lower()}: ")
    assert f"NEUROTEACH_{variable}" in message


def test_a_missing_recording_is_one_line(run: Run, tmp_path: Path) -> None:
    assert str(tmp_path / "scan.npz") in one_line_error(
        run("import", "scan", tmp_path / "scan.npz")
    )


def test_missing_images_are_one_line(run: Run, tmp_path: Path) -> None:
    assert str(tmp_path / "gone") in one_line_error(run("import", "images", tmp_path / "gone"))


def test_a_dry_run_of_an_import_only_reports(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "scan.npz",
        images=rng.integers(0, 256, (30, 1, 8, 8)).astype(np.uint8),
        image_index=np.r_[np.arange(30), 0, 1, 2],
        responses=rng.random((33, 5)).astype(np.float32),
    )
    result = run("import", "scan", tmp_path / "scan.npz", "--dry-run")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "30 images of 1 x 8 x 8, 33 trials" in " ".join(result.stderr.split())
    assert not (tmp_path / "home").exists()


def scan_file(path: Path, seed: int = 0) -> Path:
    """A recording of no importance."""
    rng = np.random.default_rng(seed)
    np.savez(
        path,
        images=rng.integers(0, 256, (30, 1, 8, 8)).astype(np.uint8),
        image_index=np.r_[np.arange(30), 0, 1, 2],
        responses=rng.random((33, 5)).astype(np.float32),
    )
    return path


def test_a_dry_run_of_a_folder_checks_all_its_scans(run: Run, tmp_path: Path) -> None:
    from predictive_model.exporters import write_recording
    from predictive_model.importers import read_recording

    scans = tmp_path / "scans"
    scans.mkdir()
    recording = read_recording(scan_file(scans / "a.npz"))
    write_recording(recording, scans / "b.nwb", format="nwb")
    write_recording(recording, scans / "c.zip", format="sensorium")
    write_recording(recording, scans / "d", format="sensorium")
    (scans / "README.txt").write_text("four scans")
    result = run("import", "scan", scans, "--dry-run", "--downsample", "2")
    assert (result.exit_code, result.stdout) == (0, "")
    expected = "30 images of 1 x 4 x 4, 33 trials (24 train, 3 validation, 6 test), 5 neurons"
    lines = [line for line in result.stderr.splitlines() if "note: " not in line]
    assert [line.partition(", 3 images repeated")[0] for line in lines] == [
        f"{name}: {expected}" for name in "abcd"
    ]
    assert not (tmp_path / "home").exists()
    again = run("import", "scan", scans, "--dry-run", "--name", "one")
    assert again.exit_code == 2 and "4 scans cannot share one name" in again.stderr
    scan_file(scans / "d.npz")
    message = one_line_error(run("import", "scan", scans, "--dry-run"))
    assert "d.npz: would have the same name as" in message


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda path: path.write_bytes(path.read_bytes()[:500]), "cannot be read as an .npz file"),
        (lambda path: path.unlink(), "no such file"),
        (lambda path: np.savez(path, images=np.ones(3)), "lacks `responses` (or `trials`)"),
    ],
    ids=["truncated", "missing", "without responses"],
)
def test_one_bad_scan_among_several_is_named_and_none_is_imported(
    run: Run, tmp_path: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    """All are checked before the database is opened, which here would start it."""
    files = [scan_file(tmp_path / f"{name}.npz") for name in ("a", "b", "c")]
    spoil(files[1])
    result = run("import", "scan", *files)
    assert (result.exit_code, result.stdout) == (1, "")
    lines = [line for line in result.stderr.splitlines() if "note: " not in line]
    assert [line.partition(":")[0] for line in lines] == ["a", "error", "c", "error"]
    assert str(files[1]) in lines[1] and message in lines[1]
    assert lines[3] == ("error: 1 of 3 scans cannot be imported, so none was; mend or omit them")
    assert not (tmp_path / "home").exists()


def test_a_folder_without_scans_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    message = one_line_error(run("import", "scan", tmp_path / "empty", "--dry-run"))
    assert message.startswith(f"{tmp_path / 'empty'}: holds neither a file tree")


def test_a_server_that_is_not_ours_is_neither_started_nor_stopped(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEUROTEACH_DATABASE", "postgresql://me:hush@lab.example/brain")
    for command in ("start", "stop"):
        message = one_line_error(run("database", command))
        assert "not this program's to start or stop" in message
        assert "hush" not in message


# -- with a database ---------------------------------------------------------------------------


@pytest.fixture
def planned(run_with_database: Run, study: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A database with inputs and a planned experiment whose computations all fail."""
    run = run_with_database
    size = ("--images", "40", "--repeated", "12", "--repeats", "3", "--height", "18")
    assert run("simulate", "--neurons", "5", *size, "--width", "32").exit_code == 0
    assert run("import", "images", "digits", "--size", "8").exit_code == 0
    assert run("experiment", "add", study, "--scale", "smoke").exit_code == 0
    from predictive_model.fits import fitting
    from regularized_training import training

    def fail(*args: Any, **kwargs: Any) -> None:
        raise ValueError("the brain [bold]is tired")

    monkeypatch.setattr(fitting, "fit", fail)
    monkeypatch.setattr(training, "train", fail)
    return run


@pytest.mark.database
def test_inputs_are_imported_once(run_with_database: Run) -> None:
    for said in ("imported", "was there already"):
        result = run_with_database("import", "images", "digits", "--size", "8")
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr.splitlines()[-1] == said
    other = run_with_database("import", "images", "digits", "--size", "9")
    assert other.exit_code == 1
    assert "another image set named 'digits'" in other.stderr


@pytest.mark.database
def test_an_experiment_without_its_scan_is_one_line_that_says_how_to_add_it(
    run_with_database: Run, study: Path
) -> None:
    message = one_line_error(run_with_database("experiment", "add", study, "--scale", "smoke"))
    assert message == (
        "scan: simulated not in the database, which has none; add it with `neuroteach import "
        "scan` first"
    )


@pytest.mark.database
def test_an_unknown_experiment_is_one_line(run_with_database: Run) -> None:
    for command in (("results", "noise"), ("figure", "noise", "-o", "a.png")):
        message = one_line_error(run_with_database(*command, "--experiment", "dream"))
        assert message == "experiment: dream is not in the database, which has none"


@pytest.mark.database
def test_an_unreachable_server_is_one_line_without_its_password(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"postgresql://me:hush@/brain?host={tmp_path}"
    monkeypatch.setenv("NEUROTEACH_DATABASE", url)
    message = one_line_error(run("status"))
    assert "cannot connect" in message
    assert "hush" not in message


@pytest.mark.database
def test_what_the_database_refuses_is_one_line(run_with_database: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "scan.npz",
        images=rng.integers(0, 256, (30, 1, 8, 8)).astype(np.uint8),
        image_index=np.r_[np.arange(30), 0, 1, 2],
        responses=rng.random((33, 5)).astype(np.float32),
    )
    result = run_with_database("import", "scan", tmp_path / "scan.npz", "--species", "m" * 65)
    assert result.exit_code == 1
    error = result.stderr.splitlines()[-1]
    assert error.startswith("error: the database refused: value too long")


@pytest.mark.database
def test_results_alone_are_on_standard_output(planned: Run, tmp_path: Path) -> None:
    note = "nothing computed yet; run `neuroteach populate`\n"
    for name in ("noise", "encoders", "similarity", "stability", "spectra"):
        result = planned("results", name)
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", note)
        result = planned("results", name, "--format", "json")
        assert (result.exit_code, json.loads(result.stdout), result.stderr) == (0, [], note)
        result = planned("results", name, "--format", "csv")
        frame = pd.read_csv(io.StringIO(result.stdout))
        assert (len(frame), result.stderr) == (0, note)
        assert {"simulated"} <= set(frame.columns)
    listed = json.loads(planned("experiment", "list", "-f", "json").stdout)
    assert [(e["experiment"], e["scale"], e["title"]) for e in listed] == [
        ("study", "smoke", "a study")
    ]
    output = tmp_path / "list.parquet"
    result = planned("experiment", "list", "-f", "parquet", "-o", output)
    assert (result.exit_code, result.stdout) == (0, "")
    assert pd.read_parquet(output)["experiment"].tolist() == ["study"]
    assert planned("experiment", "list", "-f", "parquet").exit_code == 2


@pytest.mark.database
def test_failures_end_populate_with_1_and_stand_in_the_status(planned: Run) -> None:
    result = planned("populate", "--quiet")
    assert (result.exit_code, result.stdout) == (1, "")
    # What else is there comes from DataJoint, which logs errors to standard error.
    lines = result.stderr.splitlines()[-5:]
    assert lines[0].startswith("failed: FittedEncoder {'scan': 'simulated', 'encoder_hash': ")
    assert lines[2].startswith("failed: TrainedNetwork {'image_set': 'digits', ")
    assert lines[1].strip() == lines[3].strip() == "ValueError: the brain [bold]is tired"
    assert lines[4].startswith("2 failed; fix the cause, then")
    status = planned("status", "--format", "json")
    assert status.exit_code == 0
    found = json.loads(status.stdout)
    assert set(found) == {"database", "tables", "workers", "failures", "inputs"}
    table = {row["table"]: row for row in found["tables"]}
    done = {"table": "Reliability", "done": 1, "total": 1, "reserved": 0, "failed": 0}
    assert table["Reliability"] == done
    assert table["FittedEncoder"]["failed"] == table["TrainedNetwork"]["failed"] == 1
    assert [(f["table"], f["n"], f["message"]) for f in found["failures"]] == [
        (name, 1, "ValueError: the brain [bold]is tired")
        for name in ("FittedEncoder", "TrainedNetwork")
    ]
    assert found["workers"] == []
    assert found["inputs"] == {"scans": ["simulated"], "image sets": ["digits"]}
    said = planned("status")
    assert "simulated" in said.stderr and "digits" in said.stderr
    assert "failed: FittedEncoder, 1 of them: ValueError: the brain [bold]is tired" in said.stderr
    (row,) = [line for line in said.stdout.splitlines() if "Reliability" in line]
    assert [word for word in row.split() if word.isdigit()] == ["1", "1", "0", "0"]
    again = planned("populate", "--quiet")
    assert again.exit_code == 1, "failures stand until they are mended"
    assert "is tired" not in again.stderr.split("failed:")[0], "nor are they tried again unasked"
    retried = planned("populate", "--quiet", "--retry")
    assert retried.exit_code == 1
    assert "2 failed computations will be tried again" in retried.stderr
    for command in (
        ("status",),
        ("populate",),
        ("populate", "--workers", "2"),
        ("populate", "--retry"),
    ):
        refused = planned(*command, "--experiment", "typo")
        assert "experiment: typo is not in the database" in one_line_error(refused)


@pytest.mark.database
def test_an_experiment_is_planned_once(planned: Run, study: Path) -> None:
    again = planned("experiment", "add", study, "--scale", "smoke")
    assert (again.exit_code, again.stderr) == (0, "was planned already\n")
    study.write_text(STUDY.replace("epochs = 1", "epochs = 2"))
    changed = planned("experiment", "add", study, "--scale", "smoke")
    assert "give this one another name with --name" in one_line_error(changed)
    assert planned("experiment", "add", study, "-s", "smoke", "--name", "other").exit_code == 0


@pytest.mark.database
def test_an_experiment_without_networks_has_no_noise_and_says_so(
    planned: Run, study: Path, tmp_path: Path
) -> None:
    study.write_text('title = "encoders"\nrecordings = ["simulated"]\n[scales.smoke]\n')
    assert planned("experiment", "add", study, "--name", "fits").exit_code == 0
    said = "experiment fits tests no network under noise; give it teachers, and no empty list noise"
    assert planned("results", "noise", "-e", "fits").stderr == said + "\n"
    figure = planned("figure", "noise", "-e", "fits", "-o", tmp_path / "noise.png")
    assert one_line_error(figure) == said
    assert "populate" in planned("results", "encoders", "-e", "fits").stderr


@pytest.mark.database
def test_where_nothing_is_planned_results_say_what_to_do(run_with_database: Run) -> None:
    said = "nothing planned yet; run `neuroteach experiment add`\n"
    assert run_with_database("results", "encoders").stderr == said


@pytest.mark.parametrize(
    ("scales", "read"), [(("tiny",), "tiny"), (("tiny", "small"), "small"), (("paper",), "paper")]
)
def test_without_a_scale_small_or_the_only_one_is_read(
    run: Run, study: Path, scales: tuple[str, ...], read: str
) -> None:
    wrong = STUDY.replace("epochs = 1", "epochs = 0")
    study.write_text(wrong.replace("[scales.smoke]", "\n".join(f"[scales.{s}]" for s in scales)))
    said = one_line_error(run("experiment", "add", study))
    assert said.startswith(f"{study}, scale {read}: training.epochs: ")


def test_of_several_scales_without_small_one_has_to_be_chosen(run: Run, study: Path) -> None:
    study.write_text(STUDY + "[scales.paper]\n")
    said = one_line_error(run("experiment", "add", study))
    assert said == f"{study}: has the scales smoke, paper; choose by --scale NAME"


@pytest.mark.database
def test_a_scan_is_exported_and_is_the_same_when_it_comes_back(
    run_with_database: Run, tmp_path: Path
) -> None:
    run = run_with_database
    size = ("--images", "40", "--repeated", "12", "--repeats", "3", "--height", "18")
    assert run("simulate", "--neurons", "5", *size, "--width", "32").exit_code == 0
    folder = tmp_path / "exported"
    folder.mkdir()
    forms = (("npz", ".npz"), ("nwb", ".nwb"), ("sensorium", ".zip"), ("sensorium", ""))
    for format, ending in forms:
        path = folder / f"simulated{ending}"
        result = run("export", "scan", "simulated", "--format", format, "-o", path)
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr == f"wrote {path}, a simulated scan\n"
        back = run("import", "scan", path)
        assert back.exit_code == 0
        assert back.stderr.splitlines()[-1] == "was there already", back.stderr
    again = run("export", "scan", "simulated", "--format", format, "-o", path)
    assert "is there already" in one_line_error(again)
    message = one_line_error(run("export", "scan", "b", "-f", "npz", "-o", folder / "b.npz"))
    assert message == "scan: b is not in the database, which has simulated"
    assert sorted(p.name for p in folder.iterdir()) == sorted(f"simulated{e}" for _, e in forms)


@pytest.mark.database
def test_of_several_scans_those_that_the_database_has_otherwise_stay_out_whole(
    run_with_database: Run, tmp_path: Path
) -> None:
    run = run_with_database
    a, b, c = (scan_file(tmp_path / f"{name}.npz", seed) for seed, name in enumerate("abc"))
    assert run("import", "scan", b).exit_code == 0
    scan_file(b, seed=9)
    result = run("import", "scan", a, b, c)
    assert (result.exit_code, result.stdout) == (1, "")
    said = [line for line in result.stderr.splitlines() if "note: " not in line][3:]
    assert said[0] == "a.npz: imported" and said[2] == "c.npz: imported"
    assert said[1].startswith(f"error: {b}: name: the database has another scan named 'b'")
    assert said[3] == "error: 1 of 3 scans were not imported"
    again = run("import", "scan", a, c)
    said = [line for line in again.stderr.splitlines() if "note: " not in line]
    assert said[2:] == ["a.npz: was there already", "c.npz: was there already"]


def test_the_command_lists_the_figures_that_there_are(run: Run) -> None:
    from pipeline.results.registry import figures

    result = run("figure")
    assert (result.exit_code, result.stdout) == (0, "")
    listed = [line.split()[0] for line in result.stderr.splitlines()]
    assert listed == sorted(figures()) and {"noise", "filters"} <= set(listed)


def test_the_best_settings_replace_a_file_only_when_asked_to(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import nullcontext

    from pipeline.cli import search as cli_search
    from pipeline.search import running as search

    monkeypatch.setattr(cli_search, "Session", nullcontext)
    monkeypatch.setattr(search, "best_experiment", lambda name: f"title = {name!r}")
    output = tmp_path / "best.toml"
    output.write_text("mine")
    refused = run("search", "best", "core", "-o", output)
    assert "best.toml: is there already" in one_line_error(refused)
    assert output.read_text() == "mine"
    assert run("search", "best", "core", "-o", output, "--overwrite").exit_code == 0
    assert output.read_text() == "title = 'core'"
