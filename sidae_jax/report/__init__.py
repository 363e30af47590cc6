"""Tables and figures computed from the files of runs, beside the published accuracies; no network runs here."""
