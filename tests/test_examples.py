"""The examples in docstrings run, and show what they say; scripts of studies can be started."""

from __future__ import annotations

import doctest
import importlib
import runpy
from pathlib import Path

import pytest

from tests.test_architecture import FILES, REPOSITORY, module_name

WITH_EXAMPLES = [f for f in FILES if ">>> " in (REPOSITORY / f).read_text(encoding="utf-8")]
SCRIPTS = sorted((REPOSITORY / "experiments").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_the_script_of_a_study_finds_all_that_it_imports(script: Path) -> None:
    assert callable(runpy.run_path(str(script), run_name="imported")["main"])


@pytest.mark.parametrize("file", WITH_EXAMPLES, ids=str)
def test_the_examples_of_a_module_are_true(file: Path) -> None:
    module = importlib.import_module(module_name(file))
    runner, said = doctest.DocTestRunner(), []
    for example in doctest.DocTestFinder(exclude_empty=True).find(module):
        runner.run(example, out=said.append)
    assert runner.failures == 0, "".join(said)
