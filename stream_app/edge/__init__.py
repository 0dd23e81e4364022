"""The HTTP edge: products in by HTTP, out to the same topics, and answered when their results arrive.

It is thin: it classifies and explains nothing itself, keeps nothing but the latest results, and any number of
gateways may run beside each other, as each reads all results.
"""
