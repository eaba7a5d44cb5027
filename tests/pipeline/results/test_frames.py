"""What tells networks apart, in words."""

from __future__ import annotations

from pipeline.results.frames import in_words


def test_of_v1_blocks_only_what_differs_is_said() -> None:
    block = {"field_of_view": 2.0, "image_size": 32}
    plain, alone = in_words([{"width": 8}, {"width": 8, "v1": block}])
    assert plain == {"width": 8}
    assert alone == {"width": 8, "v1": "V1 block"}
    both = in_words(
        [{"v1": block}, {"v1": {**block, "noise": "off"}}, {"v1": {**block, "seed": 1}}]
    )
    assert [one["v1"] for one in both] == ["V1 block", "V1 block, noise off", "V1 block, seed 1"]
