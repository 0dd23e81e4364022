"""Image encoders: from the bytes of a file to the evidence of each cell."""
