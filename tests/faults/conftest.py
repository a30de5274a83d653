"""The same whole system of real processes that the end-to-end tests run against."""

from tests.e2e.conftest import system

__all__ = ["system"]
