"""One question of GSM8K-Hard, answered by a Hugging Face model."""
