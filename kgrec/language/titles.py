"""Titles as a language model reads them: one line each, tokenised as plain text, in prompts of one user's likes."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kgrec.language.local_model import LocalLanguageModel

MOST_CHARACTERS = 120  # of a title
MOST_TOKENS = 48  # of a title, its end included
_ARTICLE = re.compile(
    r"^([^,]+(?:,[^,]+)*?), (the|an?|l[ae]s?|l'|il|lo|gli|el|los|der|die|das)((?: [(\[].*)?)$", re.IGNORECASE
)


def clean_title(title: str) -> str:
    """A title as one line of printable text, its article in front, cut to 120 characters; it may be empty.

    A title is data. It cannot end its line, and control and format characters, which could hide text, are dropped.
    """
    kept = (" " if c.isspace() else c for c in title if c.isspace() or unicodedata.category(c)[0] != "C")
    return front_article(" ".join("".join(kept).split()))[:MOST_CHARACTERS].rstrip()


def front_article(title: str) -> str:
    """Moves an article that catalogues put behind a title: "Lion King, The (1994)" becomes "The Lion King (1994)"."""
    moved = _ARTICLE.match(title)
    return f"{moved[2]} {moved[1]}{moved[3]}" if moved else title


@dataclass(frozen=True)
class TitlePrompt:
    """How likes become a prompt: a heading, and one title a line.

    Attributes:
        kind: what the items are called, such as "films".
        n_likes: how many likes are read, the last ones.
    """

    kind: str = "items"
    n_likes: int = 10

    def build(self, model: "LocalLanguageModel", liked: Sequence[str]) -> list[int]:
        """The tokens up to the next title.

        Args:
            model: whose tokens.
            liked: titles, the earliest first; those without text are left out.
        """
        heading = model.tokenize(f"{clean_title(self.kind).capitalize()} that one person liked, one after another:")
        head = [*model.start, *heading, model.end]
        titles = [title for title in model.read_titles(liked[-self.n_likes :]) if len(title) > 1]
        # The last likes that fit, with room for a title behind them.
        room = model.max_tokens - MOST_TOKENS - len(head)
        sizes = [sum(len(title) for title in titles[first:]) for first in range(len(titles) + 1)]
        first = next(first for first, size in enumerate(sizes) if size <= max(0, room))
        return head + [token for title in titles[first:] for token in title]
