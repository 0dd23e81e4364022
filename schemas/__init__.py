"""The messages of Shelver: what they hold, how they are written, and the files they come from."""
