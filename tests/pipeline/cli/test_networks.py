"""Networks that others trained, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.database.opening import open_database
from pipeline.database.settings import Settings
from tests.pipeline.cli.invoked import Run, one_line_error
from tests.stored_graphs import tiny_graph, write_graph


@pytest.mark.database
def test_a_folder_is_imported_whole_or_not_at_all(
    run_with_database: Run, settings: Settings, tmp_path: Path
) -> None:
    run, folder = run_with_database, tmp_path / "pool"
    folder.mkdir()
    write_graph(folder, "a")
    graph, tensors = tiny_graph()
    del tensors["two.w"]
    broken = write_graph(folder, "b", graph, tensors)
    (tmp_path / "classes.txt").write_text("\n".join(f"digit {n}" for n in range(10)))
    command = ("import", "network", folder, "--classes", tmp_path / "classes.txt")
    result = run(*command)
    assert result.exit_code == 1
    assert "b.json: tensor 'two.w' of the operation conv 'd': not in" in result.stderr
    write_graph(folder, "b")
    said = " ".join(run(*command, "--trained-on", "digits").stderr.split())
    assert "a: graph, 255 numbers, images of 3 x 32 x 32, 10 outputs" in said
    assert "a: imported b: imported" in said
    said = " ".join(run(*command).stderr.split())
    assert "a: was there already b: was there already" in said
    with open_database(settings):
        from schemas.imported_network import ImportedNetwork

        rows = ImportedNetwork.proj("imported_network", "trained_on", "source").to_dicts(
            order_by="imported_network"
        )
        assert [tuple(row.values())[1:] for row in rows] == [
            ("a", "digits", "a.json"),
            ("b", "digits", "b.json"),
        ]
    error = one_line_error(run("import", "network", broken, "--image-set", "cifar10"))
    assert error == "image set: cifar10 is not in the database, which has none"
    assert run("delete", "imported-network", "a", "--yes").exit_code == 0
    assert "imported_network: a is not in" in one_line_error(
        run("delete", "imported-network", "a", "--yes")
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x.json",), "expected --classes or --image-set"),
        (("timm:resnet18",), "expected --classes or --image-set"),
    ],
)
def test_what_outputs_mean_has_to_be_said(
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    result = run("import", "network", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
