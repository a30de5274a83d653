"""The watchtower: follows the chain on its own, keeps receipts and orders, and grants leases."""
