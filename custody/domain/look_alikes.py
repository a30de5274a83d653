"""Addresses that people take for one another: they read both ends, and not the middle. Pure."""

END = 4


def ends(address: str) -> str:
    """Return what people read of an address, in lower case; as the column `book_entry.ends`."""
    return (address[:END] + address[-END:]).lower()
