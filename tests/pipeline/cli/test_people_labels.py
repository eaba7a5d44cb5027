"""People's labels and the images that they saw, from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pipeline.cli.invoked import Run, one_line_error

CLASSES = ("automobile", "cat", "deer")


@pytest.fixture
def run(run_with_database: Run, tmp_path: Path) -> Run:
    """With an image set of three classes, four training and two test images each."""
    rng = np.random.default_rng(0)
    for part, n in (("train", 4), ("test", 2)):
        for name in CLASSES:
            folder = tmp_path / "set" / part / name
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{i:04d}.png")
    done = run_with_database("import", "images", tmp_path / "set", "--name", "few")
    assert done.exit_code == 0, done.output
    return run_with_database


@pytest.mark.database
def test_labels_are_imported_in_the_order_of_the_set_and_deleted(run: Run, tmp_path: Path) -> None:
    official = np.array([2, 1, 0, 0, 1, 2, 1, 0, 2, 1, 0, 2])
    classes = np.array(CLASSES)
    file = tmp_path / "people.npz"
    worst = np.where(np.arange(12) < 3, (official + 1) % 3, official)
    np.savez(file, clean_label=official, worse_label=worst, aggre_label=official, classes=classes)
    command = ("import", "labels", file, "--image-set", "few")
    assert "in another order" in one_line_error(run(*command))
    said = run(*command, "--by-class", "--labels", "worst", "--licence", "CC BY-NC").stderr
    assert "worst: 25.00% are wrong; imported" in said
    said = run(*command, "--by-class").stderr
    assert "worst: 25.00% are wrong; was there already" in said
    assert "aggregate: 0.00% are wrong; imported" in said
    message = one_line_error(run(*command, "--by-class", "--labels", "best"))
    assert "'best' is not in" in message and "has aggregate, worst" in message
    assert "none is not in the database, which has few" in one_line_error(
        run("import", "labels", file, "--image-set", "none")
    )
    assert "1 of LabelSet" in run("delete", "labels", "few", "worst", "--yes").stderr
    assert "worst is not in the database" in one_line_error(
        run("delete", "labels", "few", "worst", "--yes")
    )

    official = np.array([1, 0, 2, 2, 1, 0])
    counts = 9 * np.eye(3, dtype=np.int64)[official] + 1
    np.savez(file, counts=counts, labels=official, classes=classes)
    command = ("import", "soft-labels", file, "--image-set", "few")
    assert "in another order" in one_line_error(run(*command))
    said = run(*command, "--by-class").stderr
    assert "72 answers to 6 test images; 0.833 right" in " ".join(said.split())
    assert "was there already" in run(*command, "--by-class").stderr
    assert "1 of SoftLabels" in run("delete", "soft-labels", "few", "--yes").stderr


@pytest.mark.database
def test_images_that_people_saw_are_imported_for_networks_of_some_categories(
    run: Run, tmp_path: Path
) -> None:
    lines = ["subj,session,trial,rt,object_response,category,condition,imagename"]
    for i, name in enumerate(("bear1", "car1", "cat1", "cat2")):
        folder = tmp_path / "edge" / name[:-1]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 50 * i, np.uint8)).save(folder / f"{name}.png")
        lines.append(f"subject-01,1,{i},0.5,cat,{name[:-1]},0,{i:04d}_edg_s01_0_x_10_{name}.png")
    (tmp_path / "edge.csv").write_text("\n".join(lines))
    assert run("import", "trials", tmp_path / "edge.csv").exit_code == 0
    command = ("import", "evaluation-set", tmp_path / "edge", "--name", "edge-few")
    command += ("--classes-of", "few", "--trials", "edge")
    said = " ".join(run(*command).stderr.split())
    assert "1 of 4 images are left out, of 1 of 3 categories that no class of few means" in said
    assert "edge-few: 3 images of 3 x 8 x 8, 2 labels" in said and "named as car1" in said
    assert "shown to people in edge" in said and said.endswith("imported")
    assert "was there already" in run(*command).stderr
    asked = ("query", "ShownImages", "--format", "csv")
    assert "edge-few,edge,0" in run(*asked).stdout
    (tmp_path / "edge" / "cat" / "cat3.png").write_bytes(
        (tmp_path / "edge" / "cat" / "cat2.png").read_bytes()
    )
    message = one_line_error_of_last(run(*command[:4], "more", *command[5:]).stderr)
    assert "1 of 4, such as 'cat3', were shown to nobody in condition 0 of edge" in message
    assert "more" not in run("query", "EvaluationSet", "--format", "csv").stdout


def one_line_error_of_last(said: str) -> str:
    return said.splitlines()[-1]
