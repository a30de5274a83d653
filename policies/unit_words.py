"""Says what is wrong with an amount that somebody typed. Loaded only when one is."""

import re

_SHAPE = re.compile(r"(?P<number>\S*?)\s*(?P<asset>[A-Za-z][A-Za-z0-9]*)?", re.ASCII)
_TEXT_MAX = 64


def what_is_wrong(text: object, asset: str) -> str:
    """Return why `text` is no amount of `asset`, and what to type instead."""
    return f'{_mistake(text, asset)}: write it as for example "1.5 {asset}"'


def _mistake(text: object, asset: str) -> str:  # noqa: C901 - a list of mistakes
    if not isinstance(text, str):
        return "must be text with its asset"
    match = _SHAPE.fullmatch(text.strip()[:_TEXT_MAX])
    if match is None:
        return f"must be one number, a blank and {asset}"
    number, typed = match["number"], match["asset"] or ""
    if not typed:
        return "names no asset"
    if typed != asset:
        if typed.upper() == asset:
            return f"must spell the asset {asset}, not {typed}"
        return f"names {typed}, but this is in {asset}"
    if "," in number or "_" in number:
        return "must have a point before the decimals and no other separators"
    if number.startswith(("-", "+")):
        return "must be a number without a sign"
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", number, re.ASCII):
        return "must be a plain decimal number"
    if len(number) > 1 and number.startswith("0") and not number.startswith("0."):
        return "must not begin with zeros"
    if text != f"{number} {asset}":
        return "must have one blank between number and asset and none around them"
    return "has more digits than any amount"
