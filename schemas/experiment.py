"""Experiments and seeds: what was asked for, by whom the computed tables know what to compute.

The parents of a computed table allow for many more combinations than anyone wants. Each module
therefore has a plan table, filled from an experiment file, and computes what stands in it.
"""

from __future__ import annotations

import datajoint as dj

from schemas.base import schema

TRIAL = "trial-"  # begins the scales of experiments that are trials of a search


@schema
class Experiment(dj.Manual):
    """One experiment file at one scale."""

    definition = """
        experiment : varchar(64)
        scale      : varchar(16)   # smoke, small or paper
        ---
        title      : varchar(255)
        settings   : json          # the file's content at this scale, defaults expanded
        added      : datetime      # UTC
        added_by = "" : varchar(64) # user of the database
        priority = 5 : int16       # of its computations; the lowest come first
    """


@schema
class Hypothesis(dj.Manual):
    """What was expected of an experiment when it was added, before there were results."""

    definition = """
        -> Experiment
        hypothesis : varchar(64)
        ---
        place      : int16         # among those of its experiment
        content    : json          # itself, its conditions' keys, and the experiment's settings
        digest     : char(64)      # SHA-256 of the content
        frozen     : datetime      # UTC
        peeked = null  : datetime  # UTC: first looked at before all seeds were there
        peeked_by = "" : varchar(64) # user of the database
    """


@schema
class Seed(dj.Manual):
    """Seeds in use."""

    definition = """
        seed : int32
    """
