"""Parts that installed packages bring."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence


def entry_points(group: str) -> Sequence[importlib.metadata.EntryPoint]:
    """Entry points of installed packages, by name."""
    return sorted(importlib.metadata.entry_points(group=group), key=lambda e: e.name)
