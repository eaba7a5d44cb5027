"""Whole databases and parts of them on the move: copied, archived, restored, merged and checked.

What belongs here treats rows as the database has them, of any table and on any backend, and never
computes or decodes. What a table means is known only to :mod:`pipeline.transfer.selection`, which
says what belongs to an experiment.

================  ===================================================================
``rows``          rows of a table: read in one snapshot, compared, written
``objects``       objects of the store: named by rows, hashed, copied, listed
``sources``       where rows and objects come from: a database
``manifest``      what an archive, one file with all of it, says of itself
``archive``       such a file as a source, of which nothing is believed
``writing``       a source into such a file
``conflicts``     what becomes of a row where the target has rows already
``merge``         bring all of a source into a database, or nothing
``selection``     which rows belong to an experiment
``check``         does every row have its objects, and every object its row?
``operations``    what the commands do
================  ===================================================================
"""
