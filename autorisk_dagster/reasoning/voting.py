"""Self-consistency: several answers to one clip, and the severity most of them give (Wang et al. 2023, ICLR)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from autorisk_dagster.reasoning.schema import Severity


@dataclass(frozen=True)
class Majority:
    """What the votes say.

    Attributes:
        severity: of most answers; None where none could be read, or two severities are level
        margin: (votes for it - votes for the next) / all votes, answers that could not be read among them; None without
            a severity
        counts: severity -> votes
        unread: answers without a severity
    """

    severity: Severity | None
    margin: float | None
    counts: dict[Severity, int]
    unread: int


def majority(votes: Sequence[Severity | None]) -> Majority:
    """Count `votes`; None is an answer that could not be read.

    A tie is not broken: neither severity was said more often, and the clip is one for a person.
    """
    counts = Counter(vote for vote in votes if vote is not None)
    unread = len(votes) - counts.total()
    ranked = counts.most_common()
    if not ranked or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
        return Majority(None, None, dict(counts), unread)
    second = ranked[1][1] if len(ranked) > 1 else 0
    return Majority(ranked[0][0], (ranked[0][1] - second) / len(votes), dict(counts), unread)
