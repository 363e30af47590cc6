"""The files of a run: its config, metrics and checkpoints."""
