"""Pages of a list (AIP-158): sizes and opaque tokens."""

import base64
import hashlib
import re

from policies.codes import Code, Refusal

NEWEST = 2**63 - 1
SIZE_DEFAULT, SIZE_MAX = 100, 1_000
_DIGITS = 20  # 2^63 has 19
_MARK = 8  # hex digits of an event's hash
_POSITION = re.compile(r"[a-z0-9-]{1,32}", re.ASCII)  # a number, or a wallet's name
_NOT_OURS = Refusal(Code.ARGUMENT_INVALID, "page_token is not one of ours", field="page_token")


def open_page(size: int, token: str, first: str) -> tuple[int, str] | Refusal:
    """Return (size, position): `position` is `first` on the first page."""
    if size < 0:
        return Refusal(Code.ARGUMENT_INVALID, "page_size is negative", field="page_size")
    position = _position(token) if token else first
    return _NOT_OURS if position is None else (min(size or SIZE_DEFAULT, SIZE_MAX), position)


def open_numbered_page(size: int, token: str, first: int) -> tuple[int, int] | Refusal:
    """Return (size, position) of a list that is ordered by number."""
    page = open_page(size, token, str(first))
    if isinstance(page, Refusal):
        return page
    if not (page[1].isdigit() and len(page[1]) < _DIGITS):
        return _NOT_OURS
    return page[0], int(page[1])


def open_filtered_page(
    size: int, token: str, first: int, filters: str
) -> tuple[int, int] | Refusal:
    """Return (size, position) of a numbered list; its tokens are of the filters they came with."""
    page = open_page(size, token, f"{first}{_tag(filters)}")
    if isinstance(page, Refusal):
        return page
    number = page[1].removesuffix(_tag(filters))
    if f"{number}{_tag(filters)}" != page[1] or not (number.isdigit() and len(number) < _DIGITS):
        words = "page_token is not one of ours with these filters: begin with the first page"
        return Refusal(Code.ARGUMENT_INVALID, words, field="page_token")
    return page[0], int(number)


def filtered_position(position: int, filters: str) -> str:
    """Return what a filtered list's token holds."""
    return f"{position}{_tag(filters)}"


def marked_token(position: int, mark: str) -> str:
    """Return the token of what comes after the event at `position`, whose hash is `mark`."""
    return _token(f"{position}-{mark[:_MARK]}")


def open_marked(token: str) -> tuple[int, str] | None:
    """Return (position, beginning of the hash), None for no token of ours; (0, "") for ""."""
    number, dash, mark = (_position(token) or "").partition("-") if token else ("0", "-", "")
    if not dash or not number.isdigit() or len(number) >= _DIGITS or (token and len(mark) != _MARK):
        return None
    return int(number), mark


def token_after(items: int, size: int, position: object) -> str:
    """Return the token of the page after one with `items` of `size`, "" when it was the last."""
    return _token(str(position)) if items == size else ""


def _tag(filters: str) -> str:
    return "-" + hashlib.sha256(filters.encode()).hexdigest()[:8] if filters else ""


def _position(token: str) -> str | None:
    """Return what one of our own tokens holds, None for any other text."""
    try:
        position = base64.urlsafe_b64decode(token).decode()
    except ValueError:
        return None
    ours = _POSITION.fullmatch(position) and _token(position) == token
    return position if ours else None


def _token(position: str) -> str:
    return base64.urlsafe_b64encode(position.encode()).decode()
