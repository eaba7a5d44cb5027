from __future__ import annotations

from regularized_training.streams import Streams, seeds_of


def test_networks_of_earlier_versions_were_trained_by_the_same_seeds() -> None:
    assert seeds_of(7) == Streams(
        weights=8460147692890830636,
        order=305367881871196605,
        augmentation=3539062009924596655,
        stimuli=6458759822540813910,
        layers=2999010007442681331,
    )
