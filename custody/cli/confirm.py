"""The questions before a person's signature, so that it never stands by habit."""

from custody.cli.session import CommandError
from custody.words import digest_words

_UNSIGNED = "nothing was signed"


def confirm(deed: str, digest: str, *, otherwise: str = _UNSIGNED) -> None:
    """Ask for the first of the digest's six words; CommandError when it is not typed.

    `deed` is what will be done, such as "approve it"; `otherwise` is what holds if it is not.
    """
    typed = _typed(f"To {deed}, type the first of the six words: ", "--yes", otherwise)
    if typed.lower() != digest_words(digest)[0]:
        raise CommandError(f"that is not the first word: {otherwise}")


def confirm_look_alikes(number: int, said: int | None) -> None:
    """Ask how many look-alikes were shown, unless it was `said`; CommandError when it was not."""
    if said is None:
        question = "Compare the middles with what their owners told you. How many look-alikes? "
        said_right = _typed(question, "--look-alikes NUMBER") == str(number)
    else:
        said_right = said == number
    if not said_right:
        raise CommandError("that is not how many look-alikes there are: nothing was signed")


def _typed(question: str, option: str, otherwise: str = _UNSIGNED) -> str:
    """Return what is typed; CommandError when there is nobody to type."""
    try:
        return input(question).strip()
    except EOFError:
        words = f"no terminal to ask on: use {option} after reading; {otherwise}"
        raise CommandError(words) from None
