"""The world model a profile asks for, injected."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import dagster as dg

from autorisk_dagster.profile import Profile

if TYPE_CHECKING:
    from autorisk_dagster.prediction.world_model import WorldModel


class WorldModels(dg.ConfigurableResource["WorldModels"]):
    """Builds what a profile asks for, and nothing in its place. All fields are settings of the machine; none of them
    concerns the guardrail.

    `root` keeps the prompts' embeddings; `offload` and `vae_tiling` trade time for the accelerator's memory;
    `timeout_sec` and `retries` are of one video.
    """

    root: str
    device: str = "auto"
    offload: Literal["none", "model", "sequential"] = "model"
    vae_tiling: bool = True
    timeout_sec: float = 1800.0
    retries: int = 1

    def get(self, profile: Profile) -> WorldModel:
        """The world model of `profile`.

        Raises:
            BackendError: its weights are not on this disk, or an extra is not installed.
        """
        settings = profile.prediction
        if settings.world_model == "kinematic":
            from autorisk_dagster.prediction.kinematic_world import KinematicWorld

            return KinematicWorld(settings)
        from autorisk_dagster.prediction.cosmos_world import CosmosWorld, Machine

        machine = Machine(
            embeddings=Path(self.root) / "embeddings",
            device=self.device,
            offload=self.offload,
            vae_tiling=self.vae_tiling,
            timeout_sec=self.timeout_sec,
            retries=self.retries,
        )
        return CosmosWorld(settings, machine, self._child())

    def _child(self) -> str:
        """The module whose process makes one Cosmos video. No field, so that no configuration reaches it."""
        from autorisk_dagster.prediction.cosmos_world import CHILD

        return CHILD
