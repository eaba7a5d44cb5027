"""What an encoder is made of: core, front end, readout, modulator, shifter."""
