"""Where versions and aliases are kept: a local folder, or anything that fsspec reaches."""
