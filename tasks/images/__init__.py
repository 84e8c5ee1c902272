"""Images: a generator of zeros that is to draw sixes, 8 × 8 (`digits`) and the paper's 28 × 28 (`mnist`)."""
