"""The name that somebody may have meant."""

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches


def find_near_name(name: str, names: Iterable[str]) -> str | None:
    """The known name that is most like a name; None where none is alike. Case, accents and punctuation do not
    count, and "ß" is "ss".
    """
    plain = {known: _to_plain(known) for known in names}
    wanted = _to_plain(name)
    same = [known for known, text in plain.items() if text == wanted]
    near = get_close_matches(wanted, list(plain.values()), n=3)
    close = [known for text in near for known, found in plain.items() if found == text]
    # of names that are equally alike, one with the same letters and the same beginning
    close.sort(key=lambda known: (sorted(plain[known]) != sorted(wanted), plain[known][:1] != wanted[:1]))
    return next(iter([*same, *close]), None)


def _to_plain(name: str) -> str:
    # an accent is a character of its own once it is taken apart from its letter
    apart = unicodedata.normalize("NFKD", name.casefold())
    return "".join(char for char in apart if char.isalnum()) or name
