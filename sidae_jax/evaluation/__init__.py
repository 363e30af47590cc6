"""What the encoder of a checkpoint is worth: features, and the protocols that use them."""
