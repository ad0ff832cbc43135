"""The mining path as seed 000 describes it, written plainly and without deliberate slowness, to compare with.

What the seed says, and what was chosen where it is silent ("program": AutoRisk-RM, the program published with it):

- Three signals, each scored by itself (seed). Each reads the file by itself; the first one only its sound.
- Sound (seed: RMS, delta-RMS, horn band by FFT): 16 kHz mono, all of it in memory, windows of 1 s, 300-1000 Hz, rise
  over the mean of three windows (program).
- Motion (seed: Farneback flow, magnitude and variance): every third frame, short edge 480 px, window 15, three levels
  and iterations (program).
- Proximity (seed: YOLOv8n, box area and centre distance): every fifth frame at full size, both in equal parts, the
  largest of a window; the detector is the product's NanoDet.
- Fusion (seed: weights 0.3, 0.4, 0.3): min-max over the video; a signal is the mean of its parts.
- Peaks (seed: "peak-detected, and the top-N clips"): 5 s apart, height 0.2, prominence 0.15 (program); 20 at most, as
  in the seed's results.
- Clips (seed: "10-second clips"): 5 s each side, from the key frame before; 10 frames a second, short edge 480 px,
  x264 `fast`, crf 23, without sound (program).
- TTC (seed: YOLOv8n and ByteTrack on the clips, from the rate of expansion): every second frame of a clip, area over
  its growth (program).

In favour of the seed: windows go by timestamp; only frames that are looked at are converted; a frame that is not in a
clip is neither scaled nor coded; the tracker is `trackers`, faster than the one that the seed names; decoder, detector
and their threads are the product's. Candidates that the program invents where there is no peak are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.audio.resampler import AudioResampler
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from scipy.signal import find_peaks

from autorisk_dagster.perception.detections import Detector
from autorisk_dagster.perception.tracker import RoadUserTracker

SHORT_EDGE_PX = 480
FLOW_EVERY, DETECT_EVERY, TTC_EVERY = 3, 5, 2
AUDIO_RATE_HZ = 16_000
WEIGHTS = (0.3, 0.4, 0.3)
CLIP_RATE_HZ = 10
CLIP_HALF_SEC = 5.0
TOP_N = 20
CRITICAL_SEC = 1.5

Scores = NDArray[np.float64]
Window = tuple[float, float]


def audio_scores(path: Path, windows: int) -> Scores:
    """One score a second from the sound alone; zeros where there is none."""
    parts: list[NDArray[np.float32]] = []
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return np.zeros(windows)
        resampler = AudioResampler(format="flt", layout="mono", rate=AUDIO_RATE_HZ)
        for frame in container.decode(audio=0):
            parts += [part.to_ndarray().ravel() for part in resampler.resample(frame)]
        parts += [part.to_ndarray().ravel() for part in resampler.resample(None)]
    sound = np.concatenate([*parts, np.zeros(windows * AUDIO_RATE_HZ, np.float32)])[: windows * AUDIO_RATE_HZ]
    seconds = sound.reshape(windows, AUDIO_RATE_HZ)
    rms = np.sqrt((seconds**2).mean(axis=1))
    before = [rms[max(0, second - 3) : second].mean() if second else rms[0] for second in range(windows)]
    power = np.abs(np.fft.rfft(seconds, axis=1)) ** 2
    hz = np.fft.rfftfreq(AUDIO_RATE_HZ, 1 / AUDIO_RATE_HZ)
    horn = power[:, (hz >= 300) & (hz <= 1000)].sum(axis=1) / (power.sum(axis=1) + 1e-9)
    return np.mean([min_max(rms), min_max(np.maximum(rms - before, 0)), min_max(horn)], axis=0)


def motion_scores(path: Path, windows: int) -> Scores:
    """One score a second from dense flow between every third frame."""
    means, variances = defaultdict(list), defaultdict(list)
    before = None
    for time_sec, frame in every(path, FLOW_EVERY):
        gray = frame.reformat(*scaled(frame), "gray", interpolation="AREA").to_ndarray()
        if before is not None:
            flow = cv2.calcOpticalFlowFarneback(before, gray, None, 0.5, 3, 15, 3, 5, 1.2, 0)
            magnitude = cv2.magnitude(flow[..., 0], flow[..., 1])
            means[int(time_sec)].append(float(magnitude.mean()))
            variances[int(time_sec)].append(float(magnitude.var()))
        before = gray
    parts = [
        [np.mean(part[second]) if second in part else 0.0 for second in range(windows)] for part in (means, variances)
    ]
    return np.mean([min_max(np.array(part)) for part in parts], axis=0)


def proximity_scores(path: Path, windows: int, detector: Detector) -> Scores:
    """One score a second: the largest and most central box of every fifth frame."""
    scores = np.zeros(windows)
    for time_sec, frame in every(path, DETECT_EVERY):
        width, height = frame.width, frame.height
        (found,) = detector.detect([frame.to_ndarray(format="bgr24")])
        for left, top, right, bottom in found.xyxy_px:
            area = (right - left) * (bottom - top) / (width * height)
            off_centre = np.hypot((left + right - width) / 2, (top + bottom - height) / 2) / np.hypot(
                width / 2, height / 2
            )
            second = min(int(time_sec), windows - 1)
            scores[second] = max(scores[second], 0.5 * area + 0.5 * (1 - off_centre))
    return scores


def candidate_windows(signals: tuple[Scores, Scores, Scores], duration_sec: float) -> list[Window]:
    """Min-max fusion and peaks, the highest first."""
    fused = sum(weight * min_max(signal) for weight, signal in zip(WEIGHTS, signals, strict=True))
    peaks, _ = find_peaks(fused, distance=5, prominence=0.15, height=0.2)
    best = sorted(peaks.tolist(), key=lambda second: -fused[second])[:TOP_N]
    return [(max(0.0, second - CLIP_HALF_SEC), min(duration_sec, second + CLIP_HALF_SEC)) for second in best]


def cut_clip(source: Path, window: Window, target: Path) -> None:
    """Decode from the key frame before, take ten frames a second, scale and encode them."""
    start_sec, end_sec = window
    with av.open(str(source)) as container, av.open(str(target), "w") as output:
        video = threaded(container)
        video_start = (video.start_time or 0) * video.time_base
        container.seek(int((start_sec + video_start) / video.time_base), stream=video)
        stream = None
        written = 0
        for frame in container.decode(video):
            time_sec = float(frame.pts * video.time_base - video_start)
            if time_sec >= end_sec:
                break
            if time_sec - start_sec < written / CLIP_RATE_HZ - 1e-6:
                continue
            if stream is None:
                stream = output.add_stream("libx264", rate=CLIP_RATE_HZ, options={"preset": "fast", "crf": "23"})
                stream.width, stream.height = (edge // 2 * 2 for edge in scaled(frame))
                stream.pix_fmt = "yuv420p"
            picture = frame.reformat(stream.width, stream.height, "yuv420p")
            picture.pts, picture.time_base, picture.pict_type = written, Fraction(1, CLIP_RATE_HZ), 0
            written += 1
            output.mux(stream.encode(picture))
        if stream is not None:
            output.mux(stream.encode(None))


def clip_ttc(clip: Path, detector: Detector) -> tuple[float, int]:
    """The clip decoded and detected again: least A / (dA/dt) over all tracks, s, and how many tracks were critical."""
    tracker = RoadUserTracker(CLIP_RATE_HZ / TTC_EVERY)
    areas: dict[int, list[float]] = defaultdict(list)
    for index, (time_sec, frame) in enumerate(every(clip, TTC_EVERY)):
        (found,) = detector.detect([frame.to_ndarray(format="bgr24")])
        for row in tracker.update(index, index * TTC_EVERY, time_sec, 0, found):
            if row["track_id"] is not None:
                areas[row["track_id"]].append((row["x2_px"] - row["x1_px"]) * (row["y2_px"] - row["y1_px"]))
    gap_sec = TTC_EVERY / CLIP_RATE_HZ
    shortest = []
    for area in areas.values():
        growth = np.diff(area) / gap_sec
        ttc_sec = np.array(area)[1:][growth > 0] / growth[growth > 0]
        if len(area) >= 3 and len(ttc_sec):
            shortest.append(float(ttc_sec.min()))
    return min(shortest, default=np.inf), sum(ttc_sec < CRITICAL_SEC for ttc_sec in shortest)


def mine(
    path: Path, duration_sec: float, detector: Detector, folder: Path, lap: Callable[[str], None]
) -> tuple[list[Window], list[tuple[float, int]]]:
    """All steps; `lap` is told the name of each when it is done.

    Returns:
        the windows, and of each clip its least TTC and critical tracks
    """
    windows = max(1, int(duration_sec))
    audio = audio_scores(path, windows)
    lap("sound")
    motion = motion_scores(path, windows)
    lap("motion")
    proximity = proximity_scores(path, windows, detector)
    lap("proximity")
    chosen = candidate_windows((audio, motion, proximity), duration_sec)
    lap("candidates")
    clips = [folder / f"{rank:02d}.mp4" for rank in range(len(chosen))]
    for window, clip in zip(chosen, clips, strict=True):
        cut_clip(path, window, clip)
    lap("clips")
    measured = [clip_ttc(clip, detector) for clip in clips]
    lap("clip_ttc")
    return chosen, measured


def every(path: Path, nth: int) -> Iterator[tuple[float, VideoFrame]]:
    """Every nth decoded frame of a file with its time from the first one, s."""
    with av.open(str(path)) as container:
        first = None
        for index, frame in enumerate(container.decode(threaded(container))):
            first = frame.time if first is None else first
            if index % nth == 0:
                yield frame.time - first, frame


def threaded(container: Any) -> Any:
    """The video stream, decoded with the threads that the product uses: one a core."""
    video = container.streams.video[0]
    video.thread_type, video.thread_count = "AUTO", 0
    return video


def scaled(frame: VideoFrame) -> tuple[int, int]:
    """(width, height) with the short edge at 480 px, never enlarged."""
    scale = min(1.0, SHORT_EDGE_PX / min(frame.width, frame.height))
    return round(frame.width * scale), round(frame.height * scale)


def min_max(values: Scores) -> Scores:
    """Scaled to 0..1 over the video; zeros where it never changes."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)
