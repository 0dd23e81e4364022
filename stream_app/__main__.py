"""`python -m stream_app` is `shelver`."""

from stream_app.cli import main

main()
