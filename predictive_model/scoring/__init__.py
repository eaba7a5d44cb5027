"""How reliable neurons are, how well they are predicted, and what an encoder has to beat."""
