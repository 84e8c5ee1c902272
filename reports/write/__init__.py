"""Reports out: files, the README's block, Weights & Biases."""
