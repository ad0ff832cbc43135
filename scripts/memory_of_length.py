"""Does memory grow with the length of the video? Makes longer and longer videos out of one and measures peak memory.

    .venv/bin/python scripts/memory_of_length.py VIDEO --minutes 1 4 16

Each length is one child process, whose highest resident memory the operating system reports (`ru_maxrss`).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PERCEIVE = "scripts.memory_of_length:perceive_video"
CHILD = (
    "import importlib, pathlib, sys; module, name = sys.argv[1].split(':'); "
    "getattr(importlib.import_module(module), name)(pathlib.Path(sys.argv[2]))"
)


def perceive_video(video: Path) -> None:
    """The one pass over a video, with the embedded detector and default settings."""
    from autorisk_dagster.mining.one_pass import perceive
    from autorisk_dagster.perception.nanodet import NanoDetDetector
    from autorisk_dagster.profile import PerceptionSettings
    from autorisk_dagster.video.probe import probe

    settings = PerceptionSettings()
    perceive(video, probe(video).duration_sec, NanoDetDetector(settings.min_confidence, settings.nms_iou), settings)


def repeated(source: Path, target: Path, minutes: float) -> None:
    """Write `source` again and again to `target` until it lasts `minutes`: packets copied, nothing encoded anew.

    Every repetition starts where the video of the one before ended, so presentation timestamps are true throughout.
    """
    import av

    period = _video_seconds(source)
    times = max(1, round(minutes * 60 / period))
    with av.open(str(source)) as original, av.open(str(target), "w") as output:
        # All streams before the first packet: that one writes the header.
        streams = {
            stream.index: output.add_stream_from_template(stream)
            for stream in (*original.streams.video[:1], *original.streams.audio[:1])
        }
        for number in range(times):
            with av.open(str(source)) as again:
                for packet in again.demux([again.streams[index] for index in streams]):
                    if packet.dts is None or packet.pts is None or packet.time_base is None:
                        continue  # the empty packet that ends each stream
                    if packet.pts * packet.time_base >= period:
                        continue  # sound that outlasts the picture would run into the next repetition
                    if number and packet.pts < 0:
                        continue  # an encoder's run-in belongs before the very first sample only
                    shift = round(number * period / packet.time_base)
                    packet.pts += shift
                    packet.dts += shift
                    packet.stream = streams[packet.stream.index]
                    output.mux(packet)


def _video_seconds(source: Path) -> Fraction:
    """From the first frame to the end of the last one."""
    import av

    with av.open(str(source)) as original:
        ends = [
            (packet.pts + packet.duration) * packet.time_base
            for packet in original.demux(video=0)
            if packet.pts is not None and packet.duration is not None and packet.time_base is not None
        ]
    return Fraction(max(ends))


def peak_megabytes(call: str, video: Path) -> float:
    """Highest resident memory of a fresh Python process that runs `call` ("module:function") on `video`."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, call, str(video)], cwd=ROOT)
    # wait4 gives this child's own figure; getrusage(RUSAGE_CHILDREN) would give the highest of all children so far.
    _, status, usage = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"{call} failed on {video.name}: see its message above")
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="video to repeat")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0, 4.0, 16.0])
    parser.add_argument("--call", default=PERCEIVE, help="module:function that takes the path of a video")
    wanted = parser.parse_args()
    first = None
    print(f"{'minutes':>8} {'peak MB':>8} {'ratio':>6}")
    for minutes in wanted.minutes:
        with tempfile.TemporaryDirectory() as folder:
            video = Path(folder) / f"repeated{wanted.source.suffix}"
            repeated(wanted.source, video, minutes)
            length = float(_video_seconds(video)) / 60
            peak = peak_megabytes(wanted.call, video)
        first = first or peak
        print(f"{length:8.2f} {peak:8.0f} {peak / first:6.2f}", flush=True)


if __name__ == "__main__":
    main()
