"""Hydra's configuration: train.yaml and a folder for each choice."""
