"""From scores to candidate clips: the moments an analyst, or a model, should look at.

Peaks of the fused score (`scipy.signal.find_peaks`) are taken from the highest down, and each gets a clip around it.
A lower peak that a clip already shows, with enough of what came before and after, gets none: nobody judges the same
danger twice. Times are seconds of the video; a clip is `[start_sec, end_sec)` and never longer than `clip_sec`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.signal import find_peaks

from autorisk_dagster.errors import InputError
from autorisk_dagster.mining.fusion import signal_weights
from autorisk_dagster.profile import MiningSettings

# A clip gives up what a higher clip shows of it, but keeps this part of `clip_sec` on either side of its own peak.
KEPT_CONTEXT = 0.25


@dataclass(frozen=True)
class Candidate:
    """A clip to look at; scores (0..1) are those of the window at its peak.

    Attributes:
        peak_sec: middle of the window with the highest fused score
        audio_score, motion_score, proximity_score: None where the signal was not measured
        raised_by: the signal that adds most to the fused score; `raised_by_share`: its part of it (0..1)
    """

    start_sec: float
    end_sec: float
    peak_sec: float
    fused_score: float
    fused_score_seed: float
    audio_score: float | None
    motion_score: float | None
    proximity_score: float | None
    raised_by: str
    raised_by_share: float


def find_candidates(scores: pl.DataFrame, settings: MiningSettings, duration_sec: float) -> list[Candidate]:
    """The candidates of one video, highest fused score first, at most `top_n`; none if no peak reaches `min_score`.

    Args:
        scores: what `fusion.score_windows` gave: one row a window, in order
        duration_sec: length of the video; a clip near an end is shifted, not cut, so that it is shorter than `clip_sec`
            only where the video is, or where it gave up an overlap

    Raises:
        InputError: the duration is not positive.
    """
    if not duration_sec > 0:
        raise InputError(f"duration_sec must be positive, got {duration_sec}")
    rows = scores.to_dicts()
    chosen: list[Candidate] = []
    for window in _peaks_highest_first(scores, settings):
        peak_sec = (rows[window]["start_sec"] + rows[window]["end_sec"]) / 2
        if any(_shows(clip, peak_sec, settings, duration_sec) for clip in chosen):
            continue
        start_sec, end_sec = _span(peak_sec, settings.clip_sec, duration_sec)
        for clip in chosen:
            start_sec, end_sec = _without(clip, start_sec, end_sec, peak_sec, settings.clip_sec * KEPT_CONTEXT)
        chosen.append(_candidate(rows[window], start_sec, end_sec, peak_sec, settings))
        if len(chosen) == settings.top_n:
            break
    return chosen


def _peaks_highest_first(scores: pl.DataFrame, settings: MiningSettings) -> list[int]:
    """Window indices of the peaks. Outside the video there is nothing, so that danger in the first or last window,
    or all through a short video, is a peak as well (of a plateau, the middle)."""
    fused = scores["fused_score"].to_numpy()
    if not len(fused):
        return []
    window_sec = scores["end_sec"][0] - scores["start_sec"][0]
    found, _ = find_peaks(
        np.concatenate([[0.0], fused, [0.0]]),
        height=settings.min_score,
        prominence=settings.min_prominence,
        distance=max(1.0, settings.min_distance_sec / window_sec),
    )
    windows = found - 1
    return [int(window) for window in windows[np.argsort(-fused[windows], kind="stable")]]


def _span(peak_sec: float, clip_sec: float, duration_sec: float) -> tuple[float, float]:
    """`clip_sec` around the peak, shifted into the video; all of a video that is not longer."""
    if duration_sec <= clip_sec:
        return 0.0, duration_sec
    start_sec = min(max(peak_sec - clip_sec / 2, 0.0), duration_sec - clip_sec)
    return start_sec, start_sec + clip_sec


def _shows(clip: Candidate, peak_sec: float, settings: MiningSettings, duration_sec: float) -> bool:
    """Whether the clip holds a peak at least `context_sec` from its ends (an end of the video hides nothing)."""
    first_sec = clip.start_sec + (settings.context_sec if clip.start_sec > 0 else 0.0)
    last_sec = clip.end_sec - (settings.context_sec if clip.end_sec < duration_sec else 0.0)
    return first_sec <= peak_sec <= last_sec


def _without(
    clip: Candidate, start_sec: float, end_sec: float, peak_sec: float, kept_sec: float
) -> tuple[float, float]:
    """The span less what `clip` shows of it, still holding `kept_sec` on either side of the peak."""
    if clip.peak_sec < peak_sec:
        return max(start_sec, min(clip.end_sec, peak_sec - kept_sec)), end_sec
    return start_sec, min(end_sec, max(clip.start_sec, peak_sec + kept_sec))


def _candidate(
    row: dict[str, float], start_sec: float, end_sec: float, peak_sec: float, settings: MiningSettings
) -> Candidate:
    parts = {signal: weight * (row[f"{signal}_score"] or 0.0) for signal, weight in signal_weights(settings).items()}
    raised_by = max(parts, key=lambda signal: parts[signal])
    return Candidate(
        start_sec=start_sec,
        end_sec=end_sec,
        peak_sec=peak_sec,
        fused_score=row["fused_score"],
        fused_score_seed=row["fused_score_seed"],
        audio_score=row["audio_score"],
        motion_score=row["motion_score"],
        proximity_score=row["proximity_score"],
        raised_by=raised_by,
        raised_by_share=min(1.0, parts[raised_by] / row["fused_score"]) if row["fused_score"] > 0 else 0.0,
    )
