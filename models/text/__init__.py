"""Text encoders: cleaning, then one file a kind."""
