"""Labelled images from the command line: copied, referred to, and refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.database.settings import Settings, load_settings
from tests.picture_sets import write_pictures
from tests.pipeline.cli.invoked import Run, one_line_error


@pytest.mark.database
def test_pictures_are_left_where_they_are_and_read_once(
    run_with_database: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_pictures(settings.home / "images" / "few")
    command = ("import", "images", folder, "--by-reference", "--size", "16")
    result = run_with_database(*command)
    assert result.exit_code == 0, result.output
    said = " ".join(result.stderr.split())
    assert "few: 24 training and 9 test images of 3 x 16 x 16, 3 classes imported" in said

    from regularized_training.tasks import picture_files

    monkeypatch.setattr(picture_files, "read_place", None)
    assert "was there already" in run_with_database(*command).stderr
    again = run_with_database(*command, "--name", "few-grey", "--grey")
    assert "few-grey: 24 training and 9 test images of 1 x 16 x 16" in again.stderr
    monkeypatch.undo()


@pytest.mark.database
def test_a_folder_elsewhere_is_refused_before_it_is_read(
    run_with_database: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_pictures(tmp_path / "elsewhere" / "few")
    command = ("import", "images", folder, "--by-reference", "--size", "16")
    assert "not below" in one_line_error(run_with_database(*command))
    monkeypatch.setenv("NEUROTEACH_IMAGES", str(tmp_path / "elsewhere"))
    assert run_with_database(*command).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("digits", "--by-reference"), "digits is no folder"),
        (("CIFAR10", "--by-reference"), "CIFAR10 is no folder"),
        (("digits", "--resize", "20"), "is for --by-reference"),
        (("digits", "--download"), "is for torchvision's sets"),
        (("CIFAR10", "--by-reference", "--root", "x"), "is for torchvision's sets"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    result = run("import", "images", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_where_images_are_is_a_setting(tmp_path: Path) -> None:
    home = {"NEUROTEACH_HOME": str(tmp_path)}
    assert load_settings(home).images_folder == tmp_path / "images"
    (tmp_path / "settings.toml").write_text('images = "pictures"')
    assert load_settings(home).images_folder == tmp_path / "pictures"
    there = home | {"NEUROTEACH_IMAGES": "/data/images"}
    assert load_settings(there).images_folder == Path("/data/images")


@pytest.mark.database
def test_an_evaluation_set_is_imported_and_deleted(run_with_database: Run, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "few") / "val"
    (folder / "outputs.json").write_text('{"cat": ["lynx", "puma"], "dog": ["pug"], "owl": ["x"]}')
    command = ("import", "evaluation-set", folder, "--size", "16", "--name", "other")
    said = " ".join(run_with_database(*command).stderr.split())
    assert "other: 9 images of 3 x 16 x 16, 3 labels, meant by 4 classes" in said
    assert said.endswith("imported")
    assert "was there already" in run_with_database(*command).stderr
    result = run_with_database("delete", "evaluation-set", "other", "--yes")
    assert "1 of EvaluationSet" in result.stderr
    assert "other is not in the database" in one_line_error(
        run_with_database("delete", "evaluation-set", "other", "--yes")
    )
