"""The profiles an operator edits, injected as a resource."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from autorisk_dagster.profile import Profile, load_profile


class Profiles(dg.ConfigurableResource["Profiles"]):
    """YAML profiles in `folder`."""

    folder: str

    def get(self, name: str) -> Profile:
        """The profile called `name`; unknown names and keys are errors."""
        return load_profile(name, Path(self.folder))
