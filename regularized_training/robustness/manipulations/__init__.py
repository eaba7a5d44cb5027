"""The image manipulations of Geirhos et al. 2018, one module per kind."""
