"""Custody: queues withdrawals under policy, asks the signer, broadcasts. Holds no key.

Assumed hostile by the signer, so nothing here decides what may be signed.
"""

__version__ = "0.1.0"
