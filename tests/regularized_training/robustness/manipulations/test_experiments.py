from __future__ import annotations

import pytest

from regularized_training.robustness.manipulations.experiments import manipulation_of


@pytest.mark.parametrize(
    ("experiment", "condition", "expected"),
    [
        ("colour-experiment", "bw", ("grey", 1.0)),
        ("false-colour-experiment", "true", ("false_colour", 0.0)),
        ("contrast-experiment", "c100", ("contrast", 1.0)),
        ("noise-experiment", "0.35", ("uniform_noise", 0.35)),
        ("highpass-experiment", "inf", ("high_pass", float("inf"))),
        ("phase-scrambling-experiment", "150", ("phase_noise", 150.0)),
        ("power-equalisation-experiment", "pow", ("power_equalisation", 1.0)),
        ("eidolon-experiment", "8-10-10", ("eidolon_1", 8.0)),
        ("eidolon-experiment", "8-0-10", ("eidolon_3", 8.0)),
        ("eidolon-experiment", "8-5-10", None),  # no such coherence was published
        ("contrast-experiment", "high", None),
        ("edge", "0", None),
    ],
)
def test_conditions_are_manipulations_and_levels(
    experiment: str, condition: str, expected: tuple[str, float] | None
) -> None:
    assert manipulation_of(experiment, condition) == expected
