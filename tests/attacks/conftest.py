"""The incidents that a real guard alone can answer: token, journal, policy."""

from tests.integration.guard.conftest import make_rig, rig

__all__ = ["make_rig", "rig"]
