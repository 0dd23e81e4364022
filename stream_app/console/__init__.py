"""The web page: products tried by hand, what streams through, test sets and models.

It knows no broker and no model: what it shows it has asked the HTTP edge for, with the key it was given.
Needs the extra `console`.
"""
