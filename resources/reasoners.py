"""The reasoner a profile asks for, injected: loaded on first use and shared by every video of the process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import dagster as dg

from autorisk_dagster.errors import BackendError
from autorisk_dagster.profile import Profile
from autorisk_dagster.storage import open_storage
from autorisk_dagster.training.adapters import promoted_folder, read_promoted
from resources import model_slot
from resources.machine import REASONER, machine_settings

if TYPE_CHECKING:
    from autorisk_dagster.reasoning.clip_judge import ClipJudge
    from autorisk_dagster.reasoning.kinematic import KinematicReasoner
    from autorisk_dagster.reasoning.vlm import VisionLanguageModel


PROMOTED = "promoted"
# Of a served answer behind its thoughts: with 1024 of these, the 4096 of Cosmos-Reason2's own sample program.
ANSWER_TOKENS: Final = 3072


@dataclass(frozen=True)
class ChosenAdapter:
    """The adapter that a profile means; all None: the plain model.

    Attributes:
        folder: PEFT's folder or hub id
        base_revision: the only weights it may be laid over; None: it does not say
    """

    folder: str | None
    base_revision: str | None = None


class Reasoners(dg.ConfigurableResource["Reasoners"]):
    """Builds what a profile asks for, and nothing in its place.

    Settings of the machine, which the environment gives (`on_this_machine`): `device_map` and `attention` of a model
    that runs here; seconds for a request, retries and requests at a time of one that is served. The endpoint's URL and
    key come from the environment too (`COSMOS_NIM_URL`, `COSMOS_NIM_API_KEY`), when a profile with the `openai` back
    end first runs. `adapters` is where trained adapters lie and the record of the one that `reasoner.adapter: promoted`
    means.
    """

    adapters: str | None = None

    device_map: str = "auto"
    attention: str = "sdpa"
    timeout_sec: float = 120.0
    retries: int = 4
    concurrency: int = 4

    @classmethod
    def on_this_machine(cls, adapters: str, environment: Mapping[str, str] = os.environ) -> Self:
        """With what the environment says of this machine (`resources.machine`).

        Raises:
            InputError: a variable is no number in its range.
        """
        return cls(adapters=adapters, **machine_settings(REASONER, environment))

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
            self._model(profile),
            JudgeSettings(
                temperatures=settings.temperatures,
                seed=settings.seed,
                thinking=settings.thinking,
                letters=settings.letters,
                min_letter_mass=settings.min_letter_mass,
            ),
        )

    def adapter(self, profile: Profile) -> ChosenAdapter:
        """The adapter that `reasoner.adapter` means; `promoted` is the plain model until one is promoted.

        Raises:
            InputError: the record of the promoted adapter cannot be read.
            BackendError: the promoted adapter's files are missing or have changed.
        """
        wanted = profile.reasoner.adapter
        if wanted != PROMOTED:
            return ChosenAdapter(wanted)
        if self.adapters is None:
            raise BackendError("reasoner.adapter is promoted, but no folder of adapters is configured")
        folder = open_storage(self.adapters).pull()
        record = read_promoted(folder)
        if record is None:
            return ChosenAdapter(None)
        return ChosenAdapter(str(promoted_folder(folder, record)), record.base_revision)

    def _model(self, profile: Profile) -> VisionLanguageModel:
        """Warm where it has the same weights and shows clips alike; how it is asked may differ between profiles."""
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
        adapter = self.adapter(profile)
        wanted = LocalModelSettings(
            model=settings.model,
            revision=settings.revision,
            adapter=adapter.folder,
            dtype=settings.dtype,
            device_map=self.device_map,
            attention=self.attention,
            frames_per_sec=settings.frames_per_sec,
            max_pixels=settings.max_pixels,
            max_think_tokens=settings.max_think_tokens if settings.thinking else 0,
            max_text_chars=settings.max_text_chars,
        )

        def load() -> LocalModel:
            model = LocalModel(wanted)
            if adapter.base_revision not in (None, model.model_revision):
                model.close()
                raise BackendError(
                    f"the promoted adapter was trained over revision {adapter.base_revision} of its base; "
                    f"reasoner.model {settings.model} is {model.model_revision}. Set reasoner.model and "
                    "reasoner.revision to that base, or reasoner.adapter to null"
                )
            return model

        return model_slot.use(f"reasoner {wanted}", load)

    def _served(self, profile: Profile) -> VisionLanguageModel:
        from autorisk_dagster.reasoning.served_vlm import URL_VARIABLE, ServedModel, ServedModelSettings

        settings = profile.reasoner
        url = os.environ.get(URL_VARIABLE)
        if not url:
            raise BackendError(
                f"reasoner.backend is openai, but {URL_VARIABLE} is not set; set it to the endpoint, for example "
                "http://host:8000/v1, or choose reasoner.backend: kinematic"
            )
        wanted = ServedModelSettings(
            url=url,
            model=settings.model,
            video_as=settings.video_as,
            dialect=settings.dialect,
            frames_per_sec=settings.frames_per_sec,
            max_pixels=settings.max_pixels,
            max_tokens=ANSWER_TOKENS + (settings.max_think_tokens if settings.thinking else 0),
            timeout_sec=self.timeout_sec,
            retries=self.retries,
            concurrency=self.concurrency,
        )
        return model_slot.use(f"reasoner {wanted}", lambda: ServedModel(wanted))
