"""The code location: every asset, job, schedule and resource of the project."""

from __future__ import annotations

import os

import dagster as dg

from autorisk_dagster.fleet.deployment import deployment
from autorisk_dagster.io import FrameStore
from autorisk_dagster.jobs import (
    ASSETS,
    GRAPH,
    after_night,
    evaluate,
    finalize,
    fleet_batch,
    fleet_views,
    judge_gestures,
    learn_correction,
    process_video,
    reparse,
    supplement,
    train_adapter,
)
from autorisk_dagster.night_sensors import failure_alerts, fleet_night, night_watch
from autorisk_dagster.paths import CONFIGS, EMBEDDING_MODEL, data_root, local_folder
from autorisk_dagster.schedules import nightly_fleet_batch
from autorisk_dagster.sensors import inbox
from resources.answers import AnswerStore
from resources.credentials import Credentials
from resources.detectors import Detectors
from resources.embedders import Embedders
from resources.hiders import Hiders
from resources.media_store import MediaStore
from resources.profiles import Profiles
from resources.progress import Progress
from resources.reasoners import Reasoners
from resources.trainers import Trainers
from resources.verifiers import Verifiers
from resources.world_models import WorldModels


@dg.definitions
def defs() -> dg.Definitions:
    """Assets from `assets/`, back ends from `resources/`, settings from `configs/` and the environment."""
    data, local = data_root(), local_folder()
    return dg.Definitions(
        assets=[*ASSETS, fleet_night],
        jobs=[
            process_video,
            fleet_batch,
            reparse,
            supplement,
            judge_gestures,
            fleet_views,
            finalize,
            learn_correction,
            evaluate,
            train_adapter,
            after_night,
        ],
        schedules=[nightly_fleet_batch],
        sensors=[inbox, night_watch, failure_alerts],
        executor=_executor(),
        resources={
            "io_manager": FrameStore(base_dir=f"{data}/tables"),
            "media": MediaStore(root=data),
            "credentials": Credentials(root=str(local)),
            "profiles": Profiles(folder=str(CONFIGS)),
            "detectors": Detectors(device=os.environ.get("AUTORISK_DEVICE", "cpu")),
            "reasoners": Reasoners.on_this_machine(adapters=f"{data}/adapters"),
            "trainers": Trainers(root=f"{data}/adapters", device=os.environ.get("AUTORISK_TRAINING_DEVICE", "cuda")),
            "graph": GRAPH,
            "hiders": Hiders(),
            "embedders": Embedders(folder=os.environ.get(EMBEDDING_MODEL, "")),
            "verifiers": Verifiers.on_this_machine(root=str(local / "verification")),
            "world_models": WorldModels(
                root=str(local / "world_models"), device=os.environ.get("AUTORISK_DEVICE", "auto")
            ),
            "answers": AnswerStore(root=f"{data}/answers"),
            "progress": Progress(console=os.environ.get("AUTORISK_PROGRESS") == "1"),
        },
    )


def _executor() -> dg.ExecutorDefinition:
    """In this process; on the fleet's workers where the environment says `fleet`, and only then is Celery imported."""
    if deployment() == "local":
        return dg.in_process_executor
    from autorisk_dagster.fleet.celery_fleet import fleet_executor

    return fleet_executor()
