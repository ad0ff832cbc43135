"""From measured signals to one score a window.

Each signal becomes a score of 0..1 and the fused score is their weighted sum (weights: seed 000, stage 1). Scalings:

- `absolute`: a measurement over the profile's full-scale value, no more than 1. A window's score depends on that window
  (and, for loudness, the 10 s around it), so that scores of different videos, or of a video that goes on, compare.
- `min_max`: the seed's, (value - lowest) / (highest - lowest) over the video. It makes a 1 out of any video's
  loudest noise; it is kept because the seed's correction thresholds were tuned on it (`fused_score_seed`).

The seed names what each signal combines, not how; here each of a signal's measurements is scaled and they count in
equal parts, except the sound's absolute score, which is loudness, less 30 % where nothing tonal is in it.

A signal that was not measured (no microphone) has a null score and adds nothing, and the other weights stay as they
are: most driving is quiet, so that a recording without sound then scores like the same drive recorded with it. Were the
weights shared out among the rest, taking out the microphone would raise every score.
"""

from __future__ import annotations

import polars as pl

from autorisk_dagster.profile import MiningSettings
from autorisk_dagster.tables import SIGNALS

# Of a loud sound's score, the part that tonality decides. An impact is not tonal: at full loudness and the seed's
# weight it adds 0.3 * 0.7 = 0.21, a horn 0.3.
TONALITY_PART = 0.3


_SEED_PARTS = {
    "audio": ("audio_rms", "audio_delta_rms", "horn_band_share"),
    "motion": ("flow_mean_px", "flow_variance_px2"),
    "proximity": ("proximity",),
}


def score_windows(signals: pl.DataFrame, settings: MiningSettings) -> pl.DataFrame:
    """One row a window of `signals` (a `tables.FRAME_SIGNALS` table), all scores 0..1.

    Returns:
        `window_index`, `start_sec`, `end_sec`; `audio_score`, `motion_score`, `proximity_score` (null: not measured)
        and `fused_score` in the settings' scaling; `fused_score_seed` always in the seed's.
    """
    weights = signal_weights(settings)
    seed = {signal: _min_max(_mean(_min_max(pl.col(part)) for part in parts)) for signal, parts in _SEED_PARTS.items()}
    scores = seed if settings.scaling == "min_max" else _absolute(settings)
    return signals.select(
        "window_index",
        "start_sec",
        "end_sec",
        **{f"{signal}_score": scores[signal] for signal in SIGNALS},
        fused_score=_fused(scores, weights),
        fused_score_seed=_fused(seed, weights),
    )


def signal_weights(settings: MiningSettings) -> dict[str, float]:
    """The weight of each signal, in the order of `tables.SIGNALS`."""
    return dict(zip(SIGNALS, (settings.weight_audio, settings.weight_motion, settings.weight_proximity), strict=True))


def _absolute(settings: MiningSettings) -> dict[str, pl.Expr]:
    loudness = _share_of(pl.col("loudness_over_floor_db"), settings.loudness_full_db)
    tonality = pl.col("tonality")
    return {
        "audio": loudness * (1.0 - TONALITY_PART + TONALITY_PART * tonality),
        "motion": _mean(
            (
                _share_of(pl.col("flow_mean_px"), settings.flow_full_px),
                _share_of(pl.col("flow_variance_px2"), settings.flow_variance_full_px2),
            )
        ),
        "proximity": _share_of(pl.col("proximity"), settings.proximity_full),
    }


def _share_of(value: pl.Expr, full: float) -> pl.Expr:
    return (value / full).clip(0.0, 1.0)


def _mean(parts: object) -> pl.Expr:
    """Mean of the parts that were measured: a first window has a loudness, but no change of loudness yet."""
    return pl.mean_horizontal(parts)  # type: ignore[arg-type]


def _min_max(value: pl.Expr) -> pl.Expr:
    """Scaled to 0..1 over the video; a value that never changes says nothing and is 0. Nulls stay null."""
    low, high = value.min(), value.max()
    return pl.when(high > low).then((value - low) / (high - low)).when(value.is_not_null()).then(0.0)


def _fused(scores: dict[str, pl.Expr], weights: dict[str, float]) -> pl.Expr:
    # Clipped because the weights add up to 1 only within rounding.
    return pl.sum_horizontal(score.fill_null(0.0) * weights[signal] for signal, score in scores.items()).clip(0.0, 1.0)
