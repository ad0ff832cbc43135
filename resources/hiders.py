"""What hides faces and number plates, as the profile asks; a face detector is built once a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
from pydantic import PrivateAttr

from autorisk_dagster.profile import Profile

if TYPE_CHECKING:
    from autorisk_dagster.privacy.faces import FaceFinder
    from autorisk_dagster.privacy.hide import Hider


class Hiders(dg.ConfigurableResource["Hiders"]):
    """Builds the hider of a video."""

    _faces: Any = PrivateAttr(default=None)  # a FaceFinder, once one was asked for

    def of_video(self, profile: Profile, tracks: pl.DataFrame, frame_size: tuple[int, int]) -> Hider | None:
        """What hides in the pictures of a video; None where its profile asks for nothing to be hidden.

        Raises:
            BackendError: the face detector that the profile asks for is not installed.
        """
        if not profile.privacy.hide:
            return None
        from autorisk_dagster.privacy.hide import Hider
        from autorisk_dagster.privacy.regions import HiddenRegions

        return Hider(HiddenRegions(tracks, frame_size), self._face_finder(profile))

    def _face_finder(self, profile: Profile) -> FaceFinder | None:
        if profile.privacy.faces == "road_users":
            return None
        if self._faces is None:
            from autorisk_dagster.privacy.faces import FaceFinder

            self._faces = FaceFinder()
        found: FaceFinder = self._faces
        return found
