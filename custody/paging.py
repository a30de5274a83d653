"""Pages of a list (AIP-158): sizes and opaque tokens."""

import base64
import re

from policies.codes import Code, Refusal

SIZE_DEFAULT, SIZE_MAX = 100, 1_000
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
    if not (page[1].isdigit() and len(page[1]) < 20):  # noqa: PLR2004 - 2^63
        return _NOT_OURS
    return page[0], int(page[1])


def token_of(position: int) -> str:
    """Return the token of what comes after `position`."""
    return _token(str(position))


def token_after(items: int, size: int, position: object) -> str:
    """Return the token of the page after one with `items` of `size`, "" when it was the last."""
    return _token(str(position)) if items == size else ""


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
