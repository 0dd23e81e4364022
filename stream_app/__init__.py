"""The service: records in, categories out, and the command line around it.

Importing this package loads nothing else. Other rooms do not import it; the commands and
`faust -A stream_app.app` reach its modules by name.
"""

__all__: list[str] = []
