"""Tables from the result files of runs, beside the papers' figures. Nothing here computes anything with a network."""
