"""The profile: every number an operator may set, with its unit, default and source.

A profile is a YAML file in `configs/`. `default.yaml` spells out all settings; the others say `extends: default` and
what they change. An unknown key, a wrong type or a value out of range is a `ProfileError` that names it. Settings of
the machine (devices, threads, folders) are not here: they belong to the resources.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from autorisk_dagster.errors import ProfileError

NIGHT = "night"  # the settings of the nightly batch lie beside the profiles and are none


class Section(BaseModel):
    """A group of settings: immutable, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def digest(self, only: Collection[str] | None = None) -> str:
        """16 hex digits that change when, and only when, a setting in this section, or among `only`, changes."""
        text = json.dumps(self.model_dump(mode="json", include=None if only is None else set(only)), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class PerceptionSettings(Section):
    """What the one pass over the video measures."""

    window_sec: float = Field(0.5, gt=0, le=5, description="length of a signal window")
    flow_rate_hz: float = Field(10.0, gt=0, le=60, description="frames a second that optical flow looks at")
    flow_height_px: int = Field(240, ge=60, le=1080, description="short edge of the grey frame for flow")
    detection_rate_hz: float = Field(10.0, gt=0, le=60, description="frames a second that the detector looks at")
    min_confidence: float = Field(0.3, gt=0, lt=1, description="detections under this are dropped")
    nms_iou: float = Field(
        0.5, gt=0, lt=1, description="overlap over which vehicle boxes are one (all vehicle classes)"
    )
    scene_cut_threshold: float = Field(0.43, gt=0, le=1, description="jump of structural distance that is a cut")
    still_share: float = Field(0.5, gt=0, le=1, description="share of the video a still box must be seen in")


class MiningSettings(Section):
    """How signals become candidates. Weights: seed 000, stage 1."""

    scaling: Literal["absolute", "min_max"] = "absolute"
    weight_audio: float = Field(0.3, ge=0, le=1)
    weight_motion: float = Field(0.4, ge=0, le=1)
    weight_proximity: float = Field(0.3, ge=0, le=1)
    loudness_full_db: float = Field(12.0, gt=0, description="loudness over the local floor that scores 1")
    flow_full_px: float = Field(20.0, gt=0, description="mean flow, px of a 240 px frame per 0.1 s, that scores 1")
    flow_variance_full_px2: float = Field(300.0, gt=0, description="flow variance that scores 1")
    proximity_full: float = Field(0.5, gt=0, le=1, description="raw proximity that scores 1")
    min_score: float = Field(0.2, ge=0, le=1, description="a peak under this is no candidate")
    min_prominence: float = Field(0.05, ge=0, le=1)
    min_distance_sec: float = Field(2.0, gt=0, description="peaks closer than this are one")
    context_sec: float = Field(1.0, ge=0, description="a peak this far inside a higher one's clip is part of it")
    top_n: int = Field(20, ge=1, le=1000)
    clip_sec: float = Field(10.0, gt=0, le=60, description="longest clip")

    @model_validator(mode="after")
    def weights_add_up(self) -> MiningSettings:
        total = self.weight_audio + self.weight_motion + self.weight_proximity
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"weight_audio + weight_motion + weight_proximity must be 1, got {total:g}")
        return self


class NearMissSettings(Section):
    """`NearMissDetector` version 1.0: seed 002's defaults (fps follows detection_rate_hz)."""

    proximity_px: float = Field(100.0, gt=0)
    ttc_threshold: float = Field(2.0, gt=0)
    debounce_frames: int = Field(30, ge=1)
    filters_enabled: bool = True
    stationary_speed_px: float = Field(5.0, gt=0)
    confirm_frames: int = Field(5, ge=1)
    same_direction_deg: float = Field(30.0, gt=0, le=180)
    min_confidence: float = Field(0.5, gt=0, le=1)


class NearMissV2Settings(Section):
    """Near misses, profile v2: seconds and metres, for pairs of road users and for the own vehicle."""

    enter_ttc_sec: float = Field(2.0, gt=0, le=10, description="time to collision at which an encounter begins")
    leave_ttc_sec: float = Field(
        3.0, gt=0, le=20, description="at which it ends, and of which risk is the share used up"
    )
    min_closing_mps: float = Field(1.5, gt=0, description="least closing speed of two road users")
    significance: float = Field(2.5, gt=0, description="standard errors by which they must close in")
    min_confidence: float = Field(0.45, gt=0, le=1, description="of the weaker road user of a pair, median")
    min_dwell_sec: float = Field(0.2, gt=0, description="shortest encounter")
    bridge_sec: float = Field(0.5, gt=0, description="an encounter may fail its conditions for so long")
    debounce_sec: float = Field(3.0, gt=0, description="what follows sooner between the same two is the same encounter")
    drac_mps2: float = Field(3.4, gt=0, description="braking needed for one in the own path, to begin")
    cut_in_headway_sec: float = Field(0.7, gt=0, description="time gap to one who just came into the own path")
    cut_in_sec: float = Field(2.0, gt=0, description="for how long one who came into the own path counts as new there")

    @model_validator(mode="after")
    def leaves_after_entering(self) -> NearMissV2Settings:
        if self.leave_ttc_sec < self.enter_ttc_sec:
            raise ValueError(
                f"leave_ttc_sec must be at least enter_ttc_sec ({self.enter_ttc_sec:g}), got {self.leave_ttc_sec:g}"
            )
        return self


class TtcSettings(Section):
    """Time to contact from expansion."""

    critical_area_tau_sec: float = Field(
        1.5, gt=0, description="critical: upper bound of A / (dA/dt), half the time to contact, under this"
    )


class CameraSettings(Section):
    """The camera, as far as it is known. What is null is estimated from the road users seen, with its error."""

    height_m: float | None = Field(None, ge=0.3, le=6, description="of the lens above the road")
    focal_px: float | None = Field(None, gt=0, description="focal length, px of the full frame")
    horizontal_view_deg: float | None = Field(None, gt=10, lt=170, description="angle across the full frame")
    horizon_share: float | None = Field(None, gt=0, lt=1, description="height of the horizon from the top / frame's")
    bumper_ahead_m: float | None = Field(
        None, ge=0, le=5, description="of the own bumper ahead of the lens; null: all measured from the lens"
    )

    @model_validator(mode="after")
    def one_focal_length(self) -> CameraSettings:
        if self.focal_px is not None and self.horizontal_view_deg is not None:
            raise ValueError("give focal_px or horizontal_view_deg, not both")
        return self


class CorrectionSettings(Section):
    """Thresholds of R1-R6: seed 000, stage 3. `rule_set` names the quantities they were tuned on."""

    rule_set: Literal["seed"] = "seed"
    r1_ttc_sec: float = 1.0
    r1_fused: float = 0.55
    r1_critical: int = 1
    r2_ttc_sec: float = 0.25
    r2_critical: int = 4
    r3_fused: float = 0.65
    r3_ttc_sec: float = 0.6
    r4_ttc_sec: float = 1.5
    r4_critical: int = 2
    r5_fused: float = 0.5
    r5_ttc_sec: float = 0.6
    r6_ttc_sec: float = 0.5


class ReasonerSettings(Section):
    """Which reasoner judges the clips, and how a model is asked. Nothing else is ever tried in its place."""

    backend: Literal["kinematic", "transformers", "openai"] = "kinematic"
    model: str = Field("nvidia/Cosmos-Reason2-2B", description="hub id or folder; openai: the endpoint's name for it")
    revision: str | None = Field(None, description="transformers: of a hub id")
    adapter: str | None = Field(
        None, description="transformers: PEFT LoRA adapter, hub id or folder; promoted: what the gate let through"
    )
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    frames_per_sec: float = Field(4.0, gt=0, le=30, description="frames of a clip that the model sees, Hz")
    max_pixels: int = Field(8_388_608, ge=65_536, description="pixels of a clip, over all its frames")
    thinking: bool = Field(True, description="think before the answer")
    max_think_tokens: int = Field(1024, ge=1, le=32_768, description="thoughts end after so many tokens")
    max_text_chars: int = Field(600, ge=1, le=10_000, description="transformers: bound of one string in an answer")
    temperatures: tuple[float, ...] = Field((0.6,), min_length=1, max_length=15, description="one answer for each")
    seed: int = Field(0, ge=0)
    letters: bool = Field(True, description="read the severities' letters for a measured confidence")
    min_letter_mass: float = Field(0.5, ge=0, le=1, description="abstain where the letters are less probable together")
    video_as: Literal["mp4", "frames"] = Field("mp4", description="openai: how a clip is sent")
    dialect: Literal["vllm", "openai"] = Field("vllm", description="openai: vllm (and NIM) takes sampling fields too")

    @model_validator(mode="after")
    def temperatures_are_possible(self) -> ReasonerSettings:
        if any(not 0 <= temperature <= 2 for temperature in self.temperatures):
            raise ValueError(f"temperatures must lie in 0 to 2, got {self.temperatures}")
        return self


class SaliencySettings(Section):
    """For which clips the model's sensitivity is measured: it costs about two answers each."""

    max_clips: int = Field(10, ge=0, le=1000, description="clips a video, the worst first")
    severities: tuple[Literal["NONE", "LOW", "MEDIUM", "HIGH"], ...] = ("MEDIUM", "HIGH")


class TrainingSettings(Section):
    """LoRA of the reasoner on labelled clips, and when its adapter may be used. Source: seed 000, stage 4c."""

    base_model: str | None = Field(
        None, description="hub id or folder of the weights to adapt; null: nothing is trained"
    )
    revision: str | None = Field(None, description="of a hub id")
    dtype: Literal["bfloat16", "float32"] = Field("bfloat16", description="of the base's weights")
    folds: int = Field(5, ge=3, le=20, description="the clips fall in so many parts: one to test, one to validate")
    split_seed: int = Field(0, ge=0)
    frames: int = Field(4, ge=1, le=64, description="frames of a clip, evenly spread")
    max_pixels: int = Field(1_048_576, ge=4096, description="pixels of a clip, over all its frames")
    rank: int = Field(16, ge=1, le=256)
    alpha: int = Field(32, ge=1, le=1024)
    dropout: float = Field(0.05, ge=0, lt=1)
    epochs: int = Field(3, ge=1, le=100)
    accumulation: int = Field(8, ge=1, le=1024, description="samples to one step")
    learning_rate: float = Field(1e-4, gt=0, le=0.1)
    warmup_share: float = Field(0.03, ge=0, lt=1, description="of all steps")
    seed: int = Field(0, ge=0)
    significance: float = Field(0.05, gt=0, lt=1, description="level of the tests and of the intervals")
    min_gain: float = Field(0.05, gt=0, le=1, description="share more right on a type of question, to be promoted")
    min_test_clips: int = Field(30, ge=1, description="held-out clips, to be promoted")
    min_test_groups: int = Field(10, ge=2, description="independent groups of them")
    shadow_clips: int = Field(20, ge=0, le=1000, description="newest clips that base and adapter both judge")


class AuditSettings(Section):
    """What leaves the house in an audit pack."""

    unreviewed: Literal["refuse", "mark"] = Field(
        "mark", description="a pack with clips that the policy wants reviewed and nobody did: none, or marked"
    )


SeverityName = Literal["NONE", "LOW", "MEDIUM", "HIGH"]
SEVERITY_NAMES: tuple[SeverityName, ...] = ("NONE", "LOW", "MEDIUM", "HIGH")
Costs = tuple[float, float, float, float]


class ReviewSettings(Section):
    """Which outcomes a person must look at, and what a wrong severity costs."""

    severities: tuple[SeverityName, ...] = Field(("HIGH",), description="reviewed where final, or in the set")
    coverage: float = Field(0.9, gt=0, lt=1, description="share of clips whose severity set shall hold the truth")
    max_set_size: int = Field(2, ge=1, le=4, description="a set of more severities is ambiguous")
    rule_levels: int = Field(2, ge=1, le=4, description="levels by which a rule changed the severity; 4: never")
    near_miss_levels: tuple[Literal["Low", "Medium", "High"], ...] = Field(
        ("High",), description="near misses of these levels that"
    )
    near_miss_severities: tuple[SeverityName, ...] = Field(("NONE", "LOW"), description="contradict these severities")
    cost: dict[SeverityName, Costs] = Field(
        {
            "NONE": (0.0, 1.0, 2.0, 4.0),
            "LOW": (2.0, 0.0, 1.0, 2.0),
            "MEDIUM": (8.0, 4.0, 0.0, 1.0),
            "HIGH": (20.0, 15.0, 5.0, 0.0),
        },
        description="by true severity, what it costs that NONE, LOW, MEDIUM, HIGH stands",
    )

    @model_validator(mode="after")
    def costs_are_of_errors(self) -> ReviewSettings:
        missing = [name for name in SEVERITY_NAMES if name not in self.cost]
        if missing:
            raise ValueError(f"cost needs a row for every true severity, missing: {', '.join(missing)}")
        for at, (name, row) in enumerate((name, self.cost[name]) for name in SEVERITY_NAMES):
            if row[at] != 0 or min(row) < 0:
                raise ValueError(f"cost of {name}: what is right costs 0, and nothing costs less; got {row}")
        return self


class PrivacySettings(Section):
    """What is made unreadable in clips and pictures that leave the system, and how long media is kept."""

    hide: bool = Field(False, description="faces and number plates in the report, the dashboard and the audit pack")
    faces: Literal["road_users", "centerface"] = Field(
        "road_users", description="heads by the road users' boxes; centerface: a face detector looks at each frame too"
    )
    keep_media_days: int | None = Field(
        None, ge=1, description="media older than this is deleted by the retention sweep, hashes kept; null: for ever"
    )


class PredictionSettings(Section):
    """The world model that shows what happens next, and what could have. Nothing else is ever tried in its place; the
    guardrail of a generative model has no setting."""

    world_model: Literal["kinematic", "cosmos"] = "kinematic"
    family: Literal["predict2", "predict2.5"] = Field(
        "predict2", description="cosmos: which pipeline loads the weights"
    )
    model: str = Field("nvidia/Cosmos-Predict2-2B-Video2World", description="cosmos: hub id on this disk, or folder")
    revision: str | None = Field(None, description="cosmos: of a hub id")
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    severities: tuple[Literal["NONE", "LOW", "MEDIUM", "HIGH"], ...] = ("MEDIUM", "HIGH")
    counterfactual_severities: tuple[Literal["NONE", "LOW", "MEDIUM", "HIGH"], ...] = ("HIGH",)
    predict_from: Literal["clip_end", "danger"] = Field(
        "clip_end", description="moment that predict_videos goes on from"
    )
    counterfactual_from: Literal["clip_end", "danger"] = Field("danger", description="moment that the pairs go on from")
    width_px: int = Field(832, ge=64, le=1920)
    height_px: int = Field(480, ge=64, le=1080)
    frames: int = Field(49, ge=5, le=121, description="of a video, 4 k + 1")
    fps: float = Field(16.0, ge=1, le=60)
    steps: int = Field(35, ge=1, le=200, description="cosmos: of the denoiser")
    guidance: float = Field(7.0, ge=0, le=30, description="cosmos: classifier-free guidance")
    seed: int = Field(42, ge=0, description="cosmos: of predict_videos")
    danger_seed: int = Field(42, ge=0, description="cosmos")
    safe_seed: int = Field(137, ge=0, description="cosmos")
    braking_mps2: float = Field(6.0, gt=0, le=12, description="kinematic: the own car's braking in the safe variant")
    reaction_sec: float = Field(0.7, ge=0, le=5, description="kinematic: before it brakes")

    @model_validator(mode="after")
    def sizes_that_the_model_takes(self) -> PredictionSettings:
        if self.frames % 4 != 1:
            raise ValueError(f"frames must be 4 k + 1 (the model compresses time by 4), got {self.frames}")
        if self.width_px % 16 or self.height_px % 16:
            raise ValueError(f"width_px and height_px must be multiples of 16, got {self.width_px} x {self.height_px}")
        return self


class DetectorSettings(Section):
    """Which detector looks at the frames. Nothing else is ever tried in its place."""

    backend: Literal["nanodet", "openvino", "ultralytics"] = "nanodet"
    weights: str | None = Field(None, description="ultralytics: a file or a name such as yolo11n.pt")


class Profile(Section):
    """All settings of one kind of footage."""

    name: str
    description: str = ""
    detector: DetectorSettings = DetectorSettings()
    perception: PerceptionSettings = PerceptionSettings()
    mining: MiningSettings = MiningSettings()
    near_miss: NearMissSettings = NearMissSettings()
    near_miss_v2: NearMissV2Settings = NearMissV2Settings()
    ttc: TtcSettings = TtcSettings()
    camera: CameraSettings = CameraSettings()
    correction: CorrectionSettings = CorrectionSettings()
    reasoner: ReasonerSettings = ReasonerSettings()
    saliency: SaliencySettings = SaliencySettings()
    privacy: PrivacySettings = PrivacySettings()
    review: ReviewSettings = ReviewSettings()
    training: TrainingSettings = TrainingSettings()
    audit: AuditSettings = AuditSettings()
    prediction: PredictionSettings = PredictionSettings()


def load_profile(name: str, folder: Path) -> Profile:
    """Read `folder/name.yaml`, laid over what it extends.

    Raises:
        ProfileError: no such profile (the known ones are listed), not YAML, an unknown key, a value out of range.
    """
    values = _merged(name, folder, ())
    values["name"] = name
    try:
        return Profile.model_validate(values)
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors())
        raise ProfileError(f"profile {name}: {found}") from error


def known_profiles(folder: Path) -> list[str]:
    """Names of the profiles in `folder`, sorted."""
    stems = (path.stem for path in folder.glob("*.yaml"))
    return sorted(stem for stem in stems if stem != NIGHT and not stem.startswith("dagster"))


@lru_cache(maxsize=32)
def parsed(text: str) -> Any:
    """What a profile's text says, kept, and so not to be changed: each asset's code version asks for every profile.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    return yaml.safe_load(text)


def _merged(name: str, folder: Path, seen: tuple[str, ...]) -> dict[str, Any]:
    if name in seen:
        raise ProfileError(f"profile {name} extends itself: {' -> '.join((*seen, name))}")
    if name not in known_profiles(folder):
        raise ProfileError(f"no profile {name!r}; known: {', '.join(known_profiles(folder))}")
    try:
        values = parsed((folder / f"{name}.yaml").read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ProfileError(f"profile {name} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise ProfileError(f"profile {name} must be a mapping, got {type(values).__name__}")
    change = {key: value for key, value in values.items() if key != "extends"}
    base = values.get("extends")
    return _laid_over(_merged(base, folder, (*seen, name)), change) if base else change


def _laid_over(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in change.items():
        old = result.get(key)
        result[key] = _laid_over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result
