"""The index that the search page ranks by: which clip says which word how often, in which kind of text.

Words are runs of letters and digits, in lower case; they are kept as written, under their stem (`stemmer`). The page
computes BM25 from it (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009, eq. 3.15): see
`templates/search.js`. The words are spread over SHARDS chunks, so that a query loads what it asks for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from autorisk_dagster.reporting.dashboard.site_files import SiteFiles
from autorisk_dagster.reporting.dashboard.stemmer import stem

FIELDS: Final = ("hazards", "reasoning", "evidence")
SHARDS: Final = 64
_WORD: Final = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """The words of a text, in order.

    >>> words("Car #3: 1.4 s, Über-Holen")
    ['car', '3', '1', '4', 's', 'über', 'holen']
    """
    return _WORD.findall(text.lower())


def shard_of(stemmed: str) -> int:
    """The chunk that holds a stem: by its first two characters, as the page computes it too."""
    first, second = ord(stemmed[0]), ord(stemmed[1]) if len(stemmed) > 1 else 0
    return (31 * first + second) % SHARDS


class SearchIndex:
    """Collects the texts of clips, in the order of the clip index."""

    def __init__(self) -> None:
        # stem -> word -> flat list of (clip, times in hazards, in reasoning, in evidence)
        self._postings: dict[str, dict[str, list[int]]] = {}
        self._lengths: list[list[int]] = [[] for _ in FIELDS]

    def add(self, texts: Mapping[str, str]) -> None:
        """Add the next clip: its text by FIELDS."""
        number = len(self._lengths[0])
        counted = [Counter(words(texts[name])) for name in FIELDS]
        for lengths, counts in zip(self._lengths, counted, strict=True):
            lengths.append(counts.total())
        for word in sorted(set().union(*counted)):
            row = self._postings.setdefault(stem(word), {}).setdefault(word, [])
            row += [number, *(counts[word] for counts in counted)]

    def write(self, files: SiteFiles) -> dict[str, Any]:
        """Write the chunks; return what the page needs to find them."""
        shards: list[list[Any]] = [[] for _ in range(SHARDS)]
        for stemmed in sorted(self._postings):
            # Pairs and not objects: a word may be "__proto__".
            shards[shard_of(stemmed)].append([stemmed, list(self._postings[stemmed].items())])
        return {
            "fields": FIELDS,
            "lengths": self._lengths,
            "shards": [files.chunk(shard) if shard else None for shard in shards],
            "words": sum(len(forms) for forms in self._postings.values()),
        }
