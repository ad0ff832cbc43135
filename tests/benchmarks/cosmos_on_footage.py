"""Real footage through the paths that Cosmos' own weights take, with a model of random weights: here, and served.

    python -m tests.benchmarks.cosmos_on_footage [FOLDER]

(In a folder that was used before, answers are kept and not asked for again.)

Four shared videos, one clip each, as one batch: `reason_outputs` by a model in this process, with one broken clip, then
only the one that failed again; `saliency_maps` of what it said; and `reason_outputs` once more by the same weights
behind `transformers serve`, another program's OpenAI-compatible server. It shows that the paths hold, not what a model
knows: random weights say noise.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import dagster as dg
import polars as pl
import yaml

VIDEOS = {
    "two-cars-00000001": "highway_two_cars_negative.mp4",
    "parked-00000002": "residential_parked.mp4",
    "crash-00000003": "intersection_crash.mp4",
    "highway-00000004": "highway_day_negative.mp4",
}
BROKEN = "parked-00000002"
SHARED = Path(__file__).parents[3] / "shared" / "data" / "video"
SHOWN = ("clip_id", "reasoner", "model_id", "outcome", "severity", "vote_margin", "confidence", "letter_mass")
COST = ("prompt_tokens", "answer_tokens", "seconds")
PORT = 18_431


def main(folder: Path) -> None:
    """Run everything in `folder`, and print what came out."""
    import torch

    from autorisk_dagster.reasoning.local_vlm import LocalModel
    from resources import model_slot, reasoners
    from tests import tiny_cosmos

    torch.set_num_threads(1)
    loaded: list[str] = []
    load = LocalModel.__init__

    def counted(self: LocalModel, settings: Any) -> None:
        loaded.append(settings.model)
        load(self, settings)

    LocalModel.__init__ = counted  # type: ignore[method-assign]
    weights = tiny_cosmos.build(folder / "tiny-random-weights")
    prepare(folder, weights)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("videos", list(VIDEOS))
        clip = folder / "media" / BROKEN / "clips" / "1.mp4"
        whole = clip.read_bytes()
        clip.write_bytes(whole[: len(whole) // 3])
        first = run(folder, instance, "reason_outputs", list(VIDEOS))
        done = sorted(instance.get_materialized_partitions(dg.AssetKey("reason_outputs")))
        print(f"batch of {len(VIDEOS)}, one broken: success {first.success}, done {done}, {len(loaded)} model load")
        clip.write_bytes(whole)
        before = stamps(folder)
        again = run(folder, instance, "reason_outputs", [BROKEN])
        touched = [key for key, at in stamps(folder).items() if before.get(key) != at]
        print(f"rerun of the failed one: success {again.success}, tables written {touched}, {len(loaded)} model load")
        show(folder, "local")
        local = table(folder).schema
        run(folder, instance, "saliency_maps", list(VIDEOS)[-1:])
        run(folder, instance, "saliency_maps", list(VIDEOS)[2:3])
        for path in sorted(folder.rglob("*.webp")):
            print(f"overlay {path}")
        model_slot.evict()
        reasoners.ANSWER_TOKENS = 48  # type: ignore[misc]  # without a schema random weights hardly ever end
        with serving(weights) as url:
            os.environ["COSMOS_NIM_URL"] = url
            profiles(folder, "served")
            for key in VIDEOS:
                result = run(folder, instance, "reason_outputs", [key])
                print(f"served {key}: success {result.success}")
        show(folder, "served")
        print(f"the same columns and types: {table(folder).schema == local}")


def prepare(folder: Path, weights: Path) -> None:
    """What the assets before would have written: the videos as clips, their tables, and two profiles."""
    from assets.reasoning import INPUTS
    from autorisk_dagster import tables
    from autorisk_dagster.paths import CONFIGS
    from autorisk_dagster.video.probe import probe
    from resources.media_store import sha256_of
    from tests.reporting.example import clip_row

    shutil.copytree(CONFIGS, folder / "configs", ignore=shutil.ignore_patterns("dagster*"), dirs_exist_ok=True)
    common = {
        "model": str(weights),
        "max_pixels": 400_000,
        "max_think_tokens": 16,
        "temperatures": [0.6, 1.0, 1.0],
        "min_letter_mass": 0.0,
    }
    backends = {
        "local": {"backend": "transformers", "dtype": "float32", "max_text_chars": 40},
        # It reads video by torchcodec, with a system FFmpeg, and knows neither response_format nor log-probabilities.
        "served": {"backend": "openai", "dialect": "openai", "video_as": "frames", "thinking": False},
    }
    for name, settings in backends.items():
        values = {"extends": "default", "reasoner": common | settings, "saliency": {"severities": [*tables.SEVERITIES]}}
        (folder / "configs" / f"{name}.yaml").write_text(yaml.safe_dump(values))
    for key, name in VIDEOS.items():
        path = folder / "media" / key / "clips" / "1.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SHARED / name, path)
        row = clip_row(1, 0.0, probe(path).duration_sec, 1.0, sha256_of(path))
        row |= {"clip_id": f"{key}-c01", "clip_path": f"{key}/clips/1.mp4"}
        store(folder, "mined_clips", key, tables.frame([row], tables.MINED_CLIPS))
        for name in set(INPUTS) - {"source_video", "mined_clips"}:
            store(folder, name, key, tables.empty(tables.TABLES[name]))
    profiles(folder, "local")


def profiles(folder: Path, profile: str) -> None:
    """Let every video be of `profile`."""
    from autorisk_dagster import tables
    from tests.reporting.example import video_row

    for key in VIDEOS:
        row = video_row(video_id=key, profile=profile)
        store(folder, "source_video", key, tables.frame([row], tables.SOURCE_VIDEO))


def store(folder: Path, asset: str, key: str, rows: pl.DataFrame) -> None:
    path = folder / "tables" / asset / f"{key}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.write_parquet(path)


def table(folder: Path) -> pl.DataFrame:
    return pl.concat(pl.read_parquet(folder / "tables" / "reason_outputs" / f"{key}.parquet") for key in VIDEOS)


def stamps(folder: Path) -> dict[str, int]:
    return {path.stem: path.stat().st_mtime_ns for path in (folder / "tables" / "reason_outputs").glob("*.parquet")}


def show(folder: Path, name: str) -> None:
    rows = table(folder)
    with pl.Config(tbl_cols=20, tbl_width_chars=200, fmt_str_lengths=30, tbl_hide_dataframe_shape=True):
        print(name, rows.select(*SHOWN, *COST))
    print(f"{name} layers {rows['parse_layer'].to_list()} errors {rows['error'].to_list()} {rows['notes'].to_list()}")


def run(folder: Path, instance: dg.DagsterInstance, asset: str, keys: list[str]) -> dg.ExecuteInProcessResult:
    """Materialise one asset of the videos `keys`, which lie side by side, as one run."""
    from assets.promotion import promoted_adapter
    from assets.reasoning import INPUTS, reason_outputs
    from assets.saliency import saliency_maps
    from autorisk_dagster.io import FrameStore
    from autorisk_dagster.partitions import videos
    from resources.answers import AnswerStore
    from resources.hiders import Hiders
    from resources.media_store import MediaStore
    from resources.profiles import Profiles
    from resources.progress import Progress
    from resources.reasoners import Reasoners
    from resources.trainers import Trainers

    tags = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
    return dg.materialize(
        [
            reason_outputs,
            saliency_maps,
            promoted_adapter,
            *(dg.AssetSpec(name, partitions_def=videos) for name in INPUTS),
        ],
        selection=[asset],
        instance=instance,
        tags=tags if len(keys) > 1 else None,
        partition_key=keys[0] if len(keys) == 1 else None,
        raise_on_error=False,
        resources={
            "io_manager": FrameStore(base_dir=str(folder / "tables")),
            "media": MediaStore(root=str(folder)),
            "answers": AnswerStore(root=str(folder / "answers")),
            "profiles": Profiles(folder=str(folder / "configs")),
            "reasoners": Reasoners(device_map="cpu"),
            "hiders": Hiders(),
            "progress": Progress(),
            "trainers": Trainers(root=str(folder / "adapters")),
        },
    )


@contextmanager
def serving(weights: Path) -> Iterator[str]:
    """`transformers serve` with the weights; its address."""
    program = str(Path(sys.executable).with_name("transformers"))
    command = [program, "serve", str(weights), "--device", "cpu", "--host", "127.0.0.1", "--port", str(PORT)]
    home = weights.parent / "home"  # it looks into the hub's cache, and fails where there is none
    (home / "hub").mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "OMP_NUM_THREADS": "1"}
    with (
        (weights.parent / "serve.txt").open("wb") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as server,
    ):
        try:
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=1)
                    break
                except OSError:
                    if server.poll() is not None:
                        raise
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{PORT}/v1"
        finally:
            server.terminate()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else mkdtemp()))
