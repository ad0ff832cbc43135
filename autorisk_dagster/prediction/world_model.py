"""What is asked of a world model, and what it hands over: the same for the kinematic one and for Cosmos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from autorisk_dagster.prediction.contact import Contact
from autorisk_dagster.prediction.moment import Moment
from autorisk_dagster.prediction.picture import Image
from autorisk_dagster.prediction.prompts import Prompt


@dataclass(frozen=True)
class Order:
    """One video that is wanted.

    Attributes:
        scenario: one of SCENARIOS
        prompt: what a generative model is asked to show
        seed: of a generative model
        moment: what the video goes on from
    """

    scenario: str
    prompt: Prompt
    seed: int
    moment: Moment


@dataclass(frozen=True)
class Generated:
    """What became of an order.

    Attributes:
        outcome: "generated", "refused" by the guardrail, or "failed"
        pictures: (h, w, 3) BGR with the strip burnt in; empty unless generated
        error: why there are none
        attempts: how often it was tried
        seconds: of all attempts
        peak_memory_mb: None: not measured
        contact: the earliest one predicted; None: none, or the model predicts no contacts
        seed: None: nothing was drawn by chance
    """

    outcome: Literal["generated", "refused", "failed"]
    pictures: tuple[Image, ...] = ()
    error: str | None = None
    attempts: int = 1
    seconds: float = 0.0
    peak_memory_mb: float | None = None
    contact: Contact | None = None
    seed: int | None = None


class WorldModel(Protocol):
    """A world model.

    Attributes:
        name: one of WORLD_MODELS
        model_id, model_revision: which one it is
        settings_hash: of the settings that it reads
        keeps: whether a finished video is worth keeping for the next run
    """

    name: str
    model_id: str
    model_revision: str
    settings_hash: str
    keeps: bool

    def generate(self, order: Order) -> Generated:
        """The video of `order`; what fails or is refused is an outcome, not an exception."""
        ...
