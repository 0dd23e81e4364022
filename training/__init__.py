"""Offline training: Lightning modules, Hydra configuration, the sample catalogue."""
