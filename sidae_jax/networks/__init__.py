"""The Flax modules: backbone, projector, predictor and decoder."""
