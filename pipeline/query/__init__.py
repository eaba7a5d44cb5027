"""Any rows of any tables, and where a row comes from."""
