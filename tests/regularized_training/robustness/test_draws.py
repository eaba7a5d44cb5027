from __future__ import annotations

import numpy as np

from regularized_training.robustness.draws import BLOCK, in_blocks


def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray]:
    return (rng.random((n, 2)),)


def test_a_block_is_what_its_generator_draws() -> None:
    (drawn,) = in_blocks(np.arange(BLOCK, 2 * BLOCK), (7, 5), draw)
    assert np.array_equal(drawn, *draw(np.random.default_rng((7, 5, 1)), BLOCK))


def test_what_an_image_gets_does_not_depend_on_the_others_or_their_order() -> None:
    (everything,) = in_blocks(np.arange(3 * BLOCK), (7,), draw)
    assert len(np.unique(everything)) == everything.size
    for index in ([2 * BLOCK + 5], [3, 1, 3], [BLOCK - 1, BLOCK, 0, 3 * BLOCK - 1, 3]):
        assert np.array_equal(*in_blocks(np.array(index), (7,), draw), everything[index])


def test_no_images_get_nothing_of_the_same_shape() -> None:
    (none,) = in_blocks(np.zeros(0, np.int64), (7,), draw)
    assert none.shape == (0, 2)
