"""DataJoint tables for every recording, encoder, teacher, network and score."""

import os
import warnings

# DataJoint reads a configuration file found from the current folder upward and logs to standard
# output, unless it is told otherwise before its first import.
os.environ.setdefault("DJ_IGNORE_CONFIG_FILE", "true")
os.environ.setdefault("DJ_LOG_STREAM", "stderr")
os.environ.setdefault("DJ_LOG_LEVEL", "ERROR")

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "No datajoint.json found")  # nor is one wanted
    import datajoint as _datajoint  # noqa: F401
