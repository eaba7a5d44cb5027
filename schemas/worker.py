"""Processes that are computing, and the state of the tables themselves."""

from __future__ import annotations

import datajoint as dj

from schemas.base import RunningState, schema


@schema
class Worker(RunningState):
    """A process that computes, for as long as it lives.

    Its heartbeat is by the clock of the database. A worker that finds it silent may delete the
    row and take its job; the silent one then knows that it was given up.
    """

    definition = """
        worker    : int64            # in whose name jobs are reserved: their connection_id
        ---
        host      : varchar(255)
        pid       : int32
        pid_space : varchar(64)      # within which a pid is of one process
        device    : varchar(64)
        user      : varchar(128)     # of the database
        session   : int64            # of the database
        started   : datetime(3)
        beat      : datetime(3)
    """


@schema
class SchemaVersion(dj.Manual):
    """Migrations that these tables went through; new tables begin at the latest."""

    definition = """
        number    : int32
        ---
        name      : varchar(64)
        package_version : varchar(32)
        applied   : datetime         # UTC
    """
