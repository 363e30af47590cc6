"""Tables, curves and pictures from the files of runs, beside the papers' figures; no network is run here."""
