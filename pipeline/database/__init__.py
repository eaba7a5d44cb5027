"""Settings, the connection, the embedded server, tables bound and brought up to date."""
