"""Texts as words: stems for cards, marks for what is learned. Knows no agent."""

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from zlib import crc32

_WORD = re.compile(r"[^\W_]+n['\u2019]t\b|[^\W_]+")
_TAIL = re.compile(r"['\u2019](?:s|re|ve|ll|d|m)\b")
"""What hangs on a word and says nothing: it's, they're."""
_SUM = re.compile(r"\d\s*[+*/\u00d7\u00f7^]\s*\(?\d|\d\s+[-\u2212x]\s+\d|\d\s*%")
"""Arithmetic in signs, which are no words."""
_SUM_WORD = "calculate"
_STOP = frozenset(
    _WORD.findall(
        "a about an and are as at be by can do does for from have how help i in is it me my of on"
        " or our please tell tells that the this to up us was we what when which who will with"
        " you your"
    )
)
_LONGEST = 40
"""Letters of a word that count; what is longer is no word that comes again."""
_MOST_WORDS = 2000
"""Words of a request that are looked at: a choice must not cost more for a pasted book."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A text, read once. `words` are for cards, `marks` for what is learned.

    Marks are checksums of stems, pairs of stems and beginnings of stems, each once: what was
    learned holds none of the words it was learned from.
    """

    words: tuple[str, ...]
    marks: tuple[int, ...]


def read(text: str) -> Reading:
    """Return what a text says."""
    pairs = _stems(text)
    stems = [stem for _, stem in pairs]
    words = tuple(stem for word, stem in pairs if word not in _STOP)
    spelled = [*stems, *map(" ".join, pairwise(["^", *stems, "$"]))]
    spelled += [f"{stem[:4]}*" for stem in stems if len(stem) > 4]
    return Reading(words, tuple({mark_of(each): None for each in spelled}))


def content_words(text: str) -> list[str]:
    """Return the stems of a text without stop words.

    Signs of arithmetic between numbers count as the word `calculate`.
    """
    return [stem for word, stem in _stems(text) if word not in _STOP]


def _stems(text: str) -> list[tuple[str, str]]:
    """Return each word with its stem, the hidden word of a sum last."""
    lower = _TAIL.sub("", text.lower())
    found = [word[:_LONGEST] for word in _WORD.findall(lower)[:_MOST_WORDS]]
    pairs = [(word, stem_of(word)) for word in found]
    return [*pairs, (_SUM_WORD, stem_of(_SUM_WORD))] if _SUM.search(lower) else pairs


@lru_cache(maxsize=50_000)
def mark_of(spelled: str) -> int:
    """Return the checksum that stands for a stem, a pair or a beginning."""
    return crc32(spelled.encode())


@lru_cache(maxsize=20_000)
def stem_of(word: str) -> str:
    """Return a word without its ending, so that plural, past and -ing forms meet in one stem.

    A light rule of four endings, for English; other languages keep their words.
    """
    cut = _without_ending(word)
    if len(cut) > 3 and cut.endswith("e"):
        cut = cut[:-1]
    doubled = len(cut) > 3 and cut[-1] == cut[-2] and cut[-1] not in "lse"
    return cut[:-1] if doubled else cut


def _without_ending(word: str) -> str:
    if word.endswith("ss"):
        return word
    ending = next(
        (
            end
            for end in ("ing", "ed", "es", "s")
            if word.endswith(end) and len(word) - len(end) > 2
        ),
        "",
    )
    return word.removesuffix(ending)
