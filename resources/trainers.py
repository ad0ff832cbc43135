"""Training of adapters, injected: where they lie, on which device they are made, and the base they are laid over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from autorisk_dagster.errors import BackendError
from autorisk_dagster.profile import TrainingSettings
from autorisk_dagster.storage import open_storage
from resources import model_slot

if TYPE_CHECKING:
    from autorisk_dagster.reasoning.local_vlm import LocalModel


class Trainers(dg.ConfigurableResource["Trainers"]):
    """Loads the base that a profile trains, and no other.

    `root` (a folder, or the URL of a bucket's prefix) holds the adapters. `device` is a setting of the machine: "cuda",
    or "cpu", which is asked for by name, because a real model would take weeks on it.
    """

    root: str
    device: str = "cuda"

    @property
    def folder(self) -> Path:
        """The adapters as they are stored now, on this disk; `keep` stores what is changed there."""
        return open_storage(self.root).pull()

    def keep(self) -> None:
        """Store what was changed in `folder`."""
        open_storage(self.root).push()

    def base(self, settings: TrainingSettings, adapter: Path | None = None) -> LocalModel:
        """The base of `settings`, with `adapter` over it where one is given; call `release` when done.

        Raises:
            BackendError: no base is set, the device is not there, an extra is not installed, or the weights cannot
                be had.
        """
        if settings.base_model is None:
            raise BackendError(
                "training.base_model is not set, so there is nothing to train. Set it in a profile to the model of "
                "reasoner.model: a folder with its safetensors weights, or a hub id that was fetched "
                "(hf download nvidia/Cosmos-Reason2-2B), and run the job train_adapter with this profile"
            )
        try:
            import torch

            from autorisk_dagster.reasoning.local_vlm import LocalModel, LocalModelSettings
        except ModuleNotFoundError as error:
            raise BackendError(f"training needs {error.name}: pip install 'autorisk-dagster[models]'") from error
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise BackendError(
                f"training {settings.base_model} needs a GPU, and PyTorch sees none here. Run it on a machine with "
                "one; AUTORISK_TRAINING_DEVICE=cpu trains on the processor, which only a very small model bears"
            )
        wanted = LocalModelSettings(
            model=settings.base_model,
            revision=settings.revision,
            adapter=None if adapter is None else str(adapter),
            dtype=settings.dtype,
            device_map=self.device,
            max_pixels=settings.max_pixels,
        )
        return model_slot.use(f"training {wanted}", lambda: LocalModel(wanted))

    @staticmethod
    def release() -> None:
        """Give the memory back: a base that was trained over is no longer the base."""
        model_slot.evict()
