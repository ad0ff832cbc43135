"""The reasoner a profile asks for, injected: loaded on first use and shared by every video of the process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import dagster as dg

from autorisk_dagster.errors import BackendError
from autorisk_dagster.profile import Profile
from resources import model_slot

if TYPE_CHECKING:
    from autorisk_dagster.reasoning.clip_judge import ClipJudge
    from autorisk_dagster.reasoning.kinematic import KinematicReasoner
    from autorisk_dagster.reasoning.vlm import VisionLanguageModel


class Reasoners(dg.ConfigurableResource["Reasoners"]):
    """Builds what a profile asks for, and nothing in its place.

    `device_map` and `attention` are settings of the machine; the endpoint's URL and key come from the environment
    (`COSMOS_NIM_URL`, `COSMOS_NIM_API_KEY`) when a profile with the `openai` back end first runs.
    """

    device_map: str = "auto"
    attention: str = "sdpa"
    timeout_sec: float = 120.0
    retries: int = 4
    concurrency: int = 4

    def kinematic(self) -> KinematicReasoner:
        """The reasoner by measurements."""
        from autorisk_dagster.reasoning.kinematic import KinematicReasoner

        return KinematicReasoner()

    def judge(self, profile: Profile) -> ClipJudge:
        """The vision-language model of `profile`, warm if it was used last in this process.

        Raises:
            BackendError: an extra is not installed, the weights cannot be had, no endpoint is set or it does not
            answer.
        """
        from autorisk_dagster.reasoning.clip_judge import ClipJudge, JudgeSettings

        settings = profile.reasoner
        return ClipJudge(
            model_slot.use(f"reasoner {settings.digest()}", lambda: self._load(profile)),
            JudgeSettings(
                temperatures=settings.temperatures,
                seed=settings.seed,
                thinking=settings.thinking,
                letters=settings.letters,
                min_letter_mass=settings.min_letter_mass,
            ),
        )

    def _load(self, profile: Profile) -> VisionLanguageModel:
        try:
            return self._served(profile) if profile.reasoner.backend == "openai" else self._local(profile)
        except ModuleNotFoundError as error:
            raise BackendError(
                f"reasoner.backend is {profile.reasoner.backend}, which needs {error.name}: "
                "pip install 'autorisk-dagster[models]'"
            ) from error

    def _local(self, profile: Profile) -> VisionLanguageModel:
        from autorisk_dagster.reasoning.local_vlm import LocalModel, LocalModelSettings

        settings = profile.reasoner
        return LocalModel(
            LocalModelSettings(
                model=settings.model,
                revision=settings.revision,
                adapter=settings.adapter,
                dtype=settings.dtype,
                device_map=self.device_map,
                attention=self.attention,
                frames_per_sec=settings.frames_per_sec,
                max_pixels=settings.max_pixels,
                max_think_tokens=settings.max_think_tokens if settings.thinking else 0,
                max_text_chars=settings.max_text_chars,
            )
        )

    def _served(self, profile: Profile) -> VisionLanguageModel:
        from autorisk_dagster.reasoning.served_vlm import URL_VARIABLE, ServedModel, ServedModelSettings

        settings = profile.reasoner
        url = os.environ.get(URL_VARIABLE)
        if not url:
            raise BackendError(
                f"reasoner.backend is openai, but {URL_VARIABLE} is not set; set it to the endpoint, for example "
                "http://host:8000/v1, or choose reasoner.backend: kinematic"
            )
        return ServedModel(
            ServedModelSettings(
                url=url,
                model=settings.model,
                video_as=settings.video_as,
                dialect=settings.dialect,
                frames_per_sec=settings.frames_per_sec,
                max_pixels=settings.max_pixels,
                timeout_sec=self.timeout_sec,
                retries=self.retries,
                concurrency=self.concurrency,
            )
        )
