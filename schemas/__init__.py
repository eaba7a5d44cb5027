"""DataJoint tables for every recording, encoder, teacher, network and score."""

from schemas.laboratory import import_datajoint

import_datajoint()
