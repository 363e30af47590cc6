"""What a run leaves for other programs: weights, ONNX, folders for the Hugging Face hub, and files of features."""
