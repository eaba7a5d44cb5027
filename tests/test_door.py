"""The module ``neuroteach``: what a user of the package finds, and when it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import neuroteach
from pipeline.database.opening import Database
from tests.tiny_experiment import plan

REPOSITORY = Path(neuroteach.__file__).parent


def in_python(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Python in a folder, which comes before the repository."""
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_it_imports_nothing_until_a_name_is_used(tmp_path: Path) -> None:
    script = (
        "import sys, neuroteach\n"
        "heavy = {'torch', 'datajoint', 'pandas', 'numpy', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "neuroteach.Settings\n"
        "print(sorted({'torch', 'pandas'} & set(sys.modules)))\n"
    )
    done = in_python(script, tmp_path)
    assert (done.returncode, done.stdout) == (0, "[]\n[]\n"), done.stderr


def test_every_name_is_there() -> None:
    assert dir(neuroteach) == sorted(neuroteach.__all__)
    for name in neuroteach.__all__:
        assert getattr(neuroteach, name) is not None
    from pipeline.query.provenance import provenance
    from predictive_model.fits.fitting import fit

    assert neuroteach.explain is provenance and neuroteach.fit is fit


def test_a_name_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(AttributeError, match="neuroteach has no 'train_all'; it has open_database"):
        neuroteach.train_all  # noqa: B018
    with pytest.raises(AttributeError, match="results: no noises; there are accuracy, .*noise,"):
        neuroteach.results.noises  # noqa: B018
    with pytest.raises(
        AttributeError, match="tables: TrainedNetwrok: .*did you mean TrainedNetwork"
    ):
        neuroteach.tables.TrainedNetwrok  # noqa: B018


def test_results_are_found_by_the_names_of_the_commands() -> None:
    from pipeline.results.registry import results

    found = dir(neuroteach.results)
    assert {name.replace("-", "_") for name in results()} <= set(found)
    by_seed = {f"{n.replace('-', '_')}_by_seed" for n, r in results().items() if r.by_seed}
    assert "noise_by_seed" in by_seed and by_seed < set(found)
    assert "accuracy_by_epoch" in found
    assert all(getattr(neuroteach.results, name).__doc__ for name in found)
    assert neuroteach.results.noise.__name__ == "noise"


@pytest.mark.database
def test_results_and_tables_are_of_the_database_that_is_open(database: Database) -> None:
    plan()
    assert neuroteach.tables.Scan.fetch1("scan") == "sim"
    assert {"Scan", "TrainedNetwork"} <= set(dir(neuroteach.tables))
    noise = neuroteach.results.noise("tiny", scale="smoke")
    assert isinstance(noise, pd.DataFrame) and noise.empty
    with pytest.raises(LookupError, match=r"typo is not in the database, which has tiny \(smoke\)"):
        neuroteach.results.noise("typo")
    assert neuroteach.caveat("tiny") == "the brain was simulated; at reduced scale (smoke)"
    with pytest.raises(LookupError, match="nothing computed yet"):
        neuroteach.figure("noise", "tiny")
    assert neuroteach.query("Scan", columns=["scan"])["scan"].tolist() == ["sim"]


def test_without_a_database_it_says_so() -> None:
    with pytest.raises(RuntimeError, match=r"call neuroteach\.open_database\(\) first"):
        neuroteach.results.noise()


@pytest.mark.parametrize("name", ["pipeline", "schemas"])
def test_a_package_of_the_same_name_is_refused_in_one_message(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    done = in_python("import neuroteach", tmp_path)
    assert done.returncode == 1
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("ImportError")]
    assert said.startswith(
        f"ImportError: neuroteach: its package '{name}' in {REPOSITORY} is hidden"
    )
    assert f"by {tmp_path / name}, which Python finds first" in said
    assert in_python("import sys; sys.path.pop(0); import neuroteach", tmp_path).returncode == 0
