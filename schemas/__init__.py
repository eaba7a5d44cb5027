"""DataJoint tables for every recording, encoder, teacher, network and score."""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "No datajoint.json found")  # nor is one needed
    warnings.filterwarnings("ignore", "datajoint.migrate is deprecated")
    import datajoint as _datajoint  # noqa: F401
