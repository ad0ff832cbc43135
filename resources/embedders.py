"""The model that turns texts into vectors, where one is configured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from autorisk_dagster.reporting.text_embeddings import Embedder


class Embedders(dg.ConfigurableResource["Embedders"]):
    """Attributes:
    folder: of a sentence model; empty: none, and clips are searched by words alone
    """

    folder: str = ""

    def model(self) -> Embedder | None:
        """The model, or None where none is configured.

        Raises:
            InputError: the folder holds no such model.
            BackendError: transformers is not installed.
        """
        if not self.folder:
            return None
        from autorisk_dagster.reporting.text_embeddings import SentenceModel

        return SentenceModel(Path(self.folder))
