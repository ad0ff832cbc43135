"""The reasoner a profile asks for, injected."""

from __future__ import annotations

import dagster as dg

from autorisk_dagster.profile import Profile
from autorisk_dagster.reasoning.kinematic import KinematicReasoner


class Reasoners(dg.ConfigurableResource["Reasoners"]):
    """Builds the reasoner of a profile, and no other."""

    def get(self, profile: Profile) -> KinematicReasoner:
        """The reasoner that `profile.reasoner.backend` names; the only one so far is `kinematic`."""
        if profile.reasoner.backend != "kinematic":
            raise ValueError(f"no reasoner {profile.reasoner.backend!r}; known: kinematic")
        return KinematicReasoner()
