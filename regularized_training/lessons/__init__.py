"""How a network learns from a teacher."""
