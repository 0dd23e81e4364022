"""Faults of the service itself, beside those of messages (`schemas.errors`) and of models (`models.errors`).

ShelverError
+-- FatalError          the process cannot go on: exit non-zero, acknowledge nothing more
+-- SettingsError       (also ValueError) a setting is wrong or unknown: exit 2 before anything starts
+-- TopicError          (also ValueError) topics cannot be had as the settings ask: exit 2 at start
+-- AccessError         (also ValueError) the brokers refuse login, certificate or operation: exit 2
"""

from schemas.errors import ShelverError

__all__ = ["AccessError", "FatalError", "SettingsError", "ShelverError", "TopicError"]


class FatalError(ShelverError):
    """Something that only a new process, or a person, can mend: fenced producer, broken device, dead task."""


class SettingsError(ShelverError, ValueError):
    """A setting has a wrong value, or an environment variable names no setting."""


class TopicError(ShelverError, ValueError):
    """The brokers cannot be reached in time, or refuse a topic that the service needs."""


class AccessError(ShelverError, ValueError):
    """The brokers turn this client away: its user, token or certificate, or for want of an ACL."""
