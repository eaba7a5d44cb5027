"""Settings, database, experiments, workers, results, figures and the command line."""
