"""Signatures as a text file: one a line, 128 hex digits, a blank, the statement's exact bytes."""

import re

from policies.statements import Signed

_LINE = re.compile(rb"([0-9a-f]{128}) (\{.*\})")


def format_signature(signed: Signed) -> str:
    """Return the line, with its line end."""
    return f"{signed.signature.hex()} {signed.statement.decode()}\n"


def parse_signatures(data: bytes) -> list[Signed]:
    """Return every line's statement and signature; ValueError naming the line otherwise."""
    signed = []
    for number, line in enumerate(data.splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"line {number} is not a signature, a blank and a statement")
        signed.append(Signed(match[2], bytes.fromhex(match[1].decode())))
    return signed
