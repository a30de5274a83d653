"""Amounts as people write them ("1.5 SOL") and as the chain counts them (base units).

Exact both ways: no float ever holds an amount.
"""

import re

from policies.fields import AMOUNT_MAX

_UNITS = re.compile(r"(0|[1-9][0-9]{0,18})(?:\.([0-9]{1,18}))? ([A-Z0-9]{1,16})", re.ASCII)


def parse_units(text: object, asset: str, decimals: int) -> int:
    """Return base units, 0 to 2^63 - 1, of a text such as "1.5 SOL"; ValueError with the reason."""
    match = _UNITS.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[3] != asset:
        # Loaded only for an error's words, so that a serving signer carries none of it.
        from policies.unit_words import what_is_wrong  # noqa: PLC0415

        raise ValueError(what_is_wrong(text, asset))
    whole, fraction = match[1], match[2] or ""
    if len(fraction) > decimals:
        raise ValueError(f"has more than the {decimals} decimals of {asset}")
    units: int = int(whole) * 10**decimals + int(fraction.ljust(decimals, "0") or "0")
    if units > AMOUNT_MAX:
        raise ValueError("is more than 2^63 - 1 base units")
    return units


def format_units(units: int, asset: str, decimals: int) -> str:
    """Return "1.5 SOL" for 1500000000 base units at 9 decimals."""
    whole, fraction = divmod(units, 10**decimals)
    digits = str(fraction).rjust(decimals, "0").rstrip("0") if fraction else ""
    return f"{whole}.{digits} {asset}" if digits else f"{whole} {asset}"
