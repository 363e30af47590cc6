"""Siamese denoising autoencoders (SidAE) and their baselines, in JAX."""

__version__ = "0.1.0"
