"""neuralpredictors' 2022 release is imported without leaving traces in the standard library."""

import subprocess
import sys

import pytest

from predictive_model.encoders import neuralpredictors_compat


def test_collections_is_left_as_python_ships_it():
    """In a process of its own, as the first import is the one that matters."""
    code = """
import collections.abc
before = set(vars(collections))
import predictive_model.encoders.neuralpredictors_compat
left = set(vars(collections)) - before
assert not left, left
assert not hasattr(collections, "Iterable") and not hasattr(collections, "Mapping")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_names_are_taken_back_even_if_the_import_fails():
    import collections

    with pytest.raises(ImportError), neuralpredictors_compat._names_of_2022():
        assert collections.Iterable is collections.abc.Iterable
        raise ImportError
    assert not hasattr(collections, "Iterable")
    assert not hasattr(collections, "Mapping")
