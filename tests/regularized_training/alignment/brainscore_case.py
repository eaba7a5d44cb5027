"""The simulated experiment on which Brain-Score 2.4.2 was run, and what it found."""

from __future__ import annotations

import numpy as np

rng = np.random.default_rng(0)
FEATURES = rng.standard_normal((200, 60))
RESPONSES = FEATURES @ rng.standard_normal((60, 20))
RESPONSES += 5 * rng.standard_normal((200, 20))
OBJECTS = np.arange(200) % 8

PLS = 0.7419583020535294
RIDGE = 0.7663333
RDM = 0.3491342734459362
CKA, BIASED_CKA = 0.3727957, 0.4472
