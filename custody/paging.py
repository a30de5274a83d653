"""Pages of a list (AIP-158): sizes and opaque tokens."""

import base64
import binascii

from policies.codes import Code, Refusal

SIZE_DEFAULT, SIZE_MAX = 100, 1_000


def open_page(size: int, token: str, first: str) -> tuple[int, str] | Refusal:
    """Return (size, position): `position` is `first` on the first page."""
    if size < 0:
        return Refusal(Code.ARGUMENT_INVALID, "page_size is negative", field="page_size")
    try:
        position = base64.urlsafe_b64decode(token.encode()).decode() if token else first
    except (ValueError, binascii.Error):
        return Refusal(Code.ARGUMENT_INVALID, "page_token is not one of ours", field="page_token")
    return min(size or SIZE_DEFAULT, SIZE_MAX), position


def open_numbered_page(size: int, token: str, first: int) -> tuple[int, int] | Refusal:
    """Return (size, position) of a list that is ordered by number."""
    page = open_page(size, token, str(first))
    if isinstance(page, Refusal):
        return page
    if not (page[1].isascii() and page[1].isdigit() and len(page[1]) < 20):  # noqa: PLR2004 - 2^63
        return Refusal(Code.ARGUMENT_INVALID, "page_token is not one of ours", field="page_token")
    return page[0], int(page[1])


def token_after(items: int, size: int, position: object) -> str:
    """Return the token of the page after one with `items` of `size`, "" when it was the last."""
    return base64.urlsafe_b64encode(str(position).encode()).decode() if items == size else ""
