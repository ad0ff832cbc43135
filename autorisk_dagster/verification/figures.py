"""What a verifier changes: alarms with and without it, and, where the truth is known, false alarms and what is lost.

Source: seed 001, "Show what breaks without Cosmos". A verdict is an opinion of a model, not the truth: without labels
the figures say how many alarms it took away, not how many of them were false.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from autorisk_dagster import tables

Outcome = Literal["confirmed", "rejected", "failed", "not_run"]  # tables.VERIFICATIONS


@dataclass(frozen=True)
class Judged:
    """One proposal.

    Attributes:
        outcome: of the verification
        passes: whether it still raises an alarm (is still carried out) with the verifier
        genuine: the truth; None where nobody labelled it
    """

    outcome: Outcome
    passes: bool
    genuine: bool | None


@dataclass(frozen=True)
class Figures:
    """Counts over proposals; without the verifier every proposal passes.

    Attributes:
        proposals: passing without the verifier
        passing: passing with it
        confirmed, rejected, failed, not_run: by outcome
        labelled: proposals whose truth is known; the next three count among them
        false_alarms_without, false_alarms_with: not genuine and passing
        lost: genuine and no longer passing
    """

    proposals: int
    passing: int
    confirmed: int
    rejected: int
    failed: int
    not_run: int
    labelled: int
    false_alarms_without: int
    false_alarms_with: int
    lost: int

    def row(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


def figures(judged: Iterable[Judged]) -> Figures:
    """Count."""
    items = list(judged)
    labelled = [item for item in items if item.genuine is not None]
    by_outcome = {outcome: sum(item.outcome == outcome for item in items) for outcome in tables.VERIFICATIONS}
    return Figures(
        proposals=len(items),
        passing=sum(item.passes for item in items),
        confirmed=by_outcome["confirmed"],
        rejected=by_outcome["rejected"],
        failed=by_outcome["failed"],
        not_run=by_outcome["not_run"],
        labelled=len(labelled),
        false_alarms_without=sum(not item.genuine for item in labelled),
        false_alarms_with=sum(not item.genuine and item.passes for item in labelled),
        lost=sum(bool(item.genuine) and not item.passes for item in labelled),
    )
