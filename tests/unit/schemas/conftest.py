"""Hypothesis without deadlines: the time of one example says more of the machine than of the code."""

from hypothesis import HealthCheck, settings

settings.register_profile("shelver", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shelver")
