"""The examples of the page on brain-likeness run, one after the other."""

from __future__ import annotations

import re
from typing import Any

from tests.test_architecture import REPOSITORY


def test_the_examples_run_and_come_to_what_the_page_says(capsys) -> None:  # type: ignore[no-untyped-def]
    page = (REPOSITORY / "docs" / "brain-likeness.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for code in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        exec(code, names)
    assert 0.2 < names["score"].ratio < 1.05
    assert names["choice"].layer == "stage1"
    printed = capsys.readouterr().out.splitlines()
    (i2n,) = [line for line in printed if line.replace(".", "", 1).isdecimal()]
    assert 0.9 < float(i2n) < 1.1
    assert 0.2 < names["judged"].best.score.ratio < 1.05
