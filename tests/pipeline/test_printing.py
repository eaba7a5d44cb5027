"""Tables for people."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipeline.printing import Format, print_frame


def encoders() -> pd.DataFrame:
    row = {"scan": "a", "oracle": 0.45, "n_trials": 9}
    row |= {"feve": 0.31, "feve_low": 0.2, "feve_high": 0.4, "feve_ceiling": 1.0, "n_feve": 46}
    other = {"scan": "b", "n_trials": 9, "single_trial": 0.1234, "single_trial_ceiling": None}
    return pd.DataFrame([row | {"single_trial": 0.2861, "single_trial_ceiling": 0.5479}, other])


def test_a_score_and_its_ceiling_share_a_cell(tmp_path: Path) -> None:
    print_frame(encoders(), Format.table, tmp_path / "table.txt", title="Encoders")
    text = (tmp_path / "table.txt").read_text(encoding="utf-8")
    assert "0.286" in text and "of 0.548" in text and "of 1 " in text
    assert text.count("of ") == 2  # the other scan has no repeats, and so no ceiling
    assert "0.123" in text
    assert "nan" not in text.lower()
    assert not any(word in text for word in ("ceiling", "low", "high"))


def test_intervals_ceilings_and_counts_stand_in_csv(tmp_path: Path) -> None:
    print_frame(encoders(), Format.csv, tmp_path / "table.csv", title="Encoders")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv"), encoders())


def test_a_ceiling_of_something_else_is_left_alone(tmp_path: Path) -> None:
    frame = pd.DataFrame({"model_correlation": [0.3], "oracle_ceiling": [0.9], "n_images": [12]})
    print_frame(frame, Format.table, tmp_path / "table.txt", title="Similarity")
    text = (tmp_path / "table.txt").read_text(encoding="utf-8")
    assert all(word in text for word in ("ceiling", "0.9", "12"))
