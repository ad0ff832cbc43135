"""The safety report of one video: one HTML file that needs nothing beside it.

Everything a reader needs is in the file: clips that play, figures, tables and provenance. No request leaves it: the
page carries a Content-Security-Policy that allows embedded media and exactly two scripts, by their SHA-256 (Plotly and
the page's own), so text from a file name, a label or a model's answer can never run, even if it escaped the template's
escaping. The output depends on nothing but `ReportData`.

Media are embedded up to EMBED_LIMIT_BYTES: the annotated copies by rank, then the footage by rank. What has no room is
named with the place of its file, and the page says so.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined

from autorisk_dagster import tables
from autorisk_dagster.kinematics.clip_ttc import AREA_TAU_SHARE
from autorisk_dagster.profile import Profile
from autorisk_dagster.reporting import plots, words
from autorisk_dagster.reporting.clip_view import ClipView, clip_views
from autorisk_dagster.reporting.embedding import json_in_html, safe_in_tag
from autorisk_dagster.reporting.report_data import ClipMedia, ReportData
from autorisk_dagster.reporting.ttc_plot import ttc_figure
from autorisk_dagster.severity.ranking import worst_severity

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["EMBED_LIMIT_BYTES", "ClipMedia", "ReportData", "render_report"]

EMBED_LIMIT_BYTES = 100_000_000  # of media in one report; larger files load slowly and mail refuses them
_STRIP_LANE_SHARE = 0.028  # least width of a clip on the timeline, in shares of the video, so that its rank is readable


@dataclass(frozen=True)
class Embedded:
    """A clip's media as data URIs; None where there is no file or no room."""

    thumbnail: str
    original: str | None
    annotated: str | None
    note: str


def render_report(data: ReportData, target: Path) -> int:
    """Write the report to `target` and return its size in bytes.

    Raises:
        InputError: tables that do not belong together: a ranked clip without its row elsewhere.
    """
    environment = Environment(
        loader=PackageLoader("autorisk_dagster.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clock": words.clock,
        "ttc": words.ttc_words,
        "quantity": words.quantity,
        "size": words.size_words,
    }
    environment.globals |= {"counted": words.counted, "track_color": plots.track_color}
    clips = clip_views(data)
    media = _embed(data, clips)
    script = _template_text("report.js")
    plotly_js = _plotly_js()
    figures = _figures(data, clips)
    parts = environment.get_template("report.html.j2").generate(
        video=data.video,
        profile=data.profile,
        clips=clips,
        media=media,
        left_out=sum(1 for files in media.values() if files.original is None),
        embed_limit_bytes=EMBED_LIMIT_BYTES,
        counts=_counts(data.severity_ranking),
        worst=worst_severity(data.severity_ranking) if clips else None,
        lowest=min((c for c in clips if c.has_ttc), key=lambda c: c.ttc["min_ttc_sec"], default=None),
        best_score=data.scores["fused_score"].max() if data.scores.height else None,
        near_misses=_near_misses(data, clips),
        near_misses_v1=data.near_miss_events.filter(pl.col("version") == "1.0").height,
        strip=_strip(data, clips),
        figures={name: json_in_html(figure) for name, figure in figures.items()},
        provenance=_provenance(data),
        facts=_video_facts(data.video),
        critical_sec=_critical_sec(data.profile),
        meanings=words.SEVERITY_MEANING,
        rules=[(f"R{number}", words.rule_words(f"R{number}", data.profile.correction)) for number in range(1, 7)],
        rule_set_words=words.RULE_SET_WORDS[data.profile.correction.rule_set],
        generated_at=data.generated_at,
        style=_template_text("report.css"),
        plotly_js=plotly_js,
        script=script,
        script_hashes=[_csp_hash(text) for text in (plotly_js, script)],
    )
    # As bytes, because a changed line end would break the scripts' hashes; in parts, because the whole is large.
    with target.open("wb") as file:
        return sum(file.write(part.encode()) for part in parts)


def _figures(data: ReportData, clips: list[ClipView]) -> dict[str, go.Figure]:
    severities = dict(data.severity_ranking.select("clip_id", "severity").iter_rows())
    figures = {
        "signals": plots.signal_figure(
            data.scores,
            data.frame_signals,
            data.mined_clips,
            data.shown_near_misses,
            severities=severities,
            min_score=data.profile.mining.min_score,
        )
    }
    for clip in clips:
        if clip.has_samples:
            figures[f"ttc-{clip.rank}"] = ttc_figure(
                clip.ttc,
                clip.start_sec,
                clip.end_sec,
                labels=clip.labels,
                critical_sec=_critical_sec(data.profile),
            )
        if clip.users:
            figures[f"tracks-{clip.rank}"] = plots.track_figure(
                clip.tracks, data.video["width_px"], data.video["height_px"]
            )
    return figures


def _critical_sec(profile: Profile) -> float:
    """The time to contact under which a track is critical: `clip_ttc` decides it on the area form, a share of it."""
    return profile.ttc.critical_area_tau_sec / AREA_TAU_SHARE


def _embed(data: ReportData, clips: list[ClipView]) -> dict[str, Embedded]:
    """Media by clip id. Annotated copies come first, by rank, then footage as far as there is room left."""
    room = EMBED_LIMIT_BYTES
    taken: dict[tuple[str, str], bytes] = {}
    for kind in ("annotated", "original"):
        for clip in clips:
            path = getattr(data.media.get(clip.clip_id), kind, None)
            if path is not None and (size := path.stat().st_size) <= room:
                taken[clip.clip_id, kind] = path.read_bytes()
                room -= size
    embedded = {}
    for clip in clips:
        files = data.media.get(clip.clip_id)
        if files is None:
            continue
        annotated = taken.pop((clip.clip_id, "annotated"), None)
        original = taken.pop((clip.clip_id, "original"), None)
        embedded[clip.clip_id] = Embedded(
            thumbnail=_data_uri(files.thumbnail_jpeg, "image/jpeg"),
            original=_data_uri(original, "video/mp4") if original else None,
            annotated=_data_uri(annotated, "video/mp4") if annotated else None,
            note=_media_note(annotated, original, clip),
        )
    return embedded


def _media_note(annotated: bytes | None, original: bytes | None, clip: ClipView) -> str:
    """What plays, and whether it is the evidence itself: told by its hash, not by what the caller says."""
    parts = []
    if annotated is not None:
        parts.append(f"Annotated: a reduced copy ({words.size_words(len(annotated))}).")
    if original is None:
        parts.append("Footage without drawings is not in this page, but in the media store.")
    elif hashlib.sha256(original).hexdigest() == clip.mined["clip_sha256"]:
        parts.append(f"Footage: the evidence file, byte for byte ({words.size_words(len(original))}).")
    else:
        parts.append(
            f"Footage ({words.size_words(len(original))}): its SHA-256 is not the one that was recorded for this clip."
        )
    return " ".join(parts)


def _counts(ranking: pl.DataFrame) -> dict[str, int]:
    """Clips by severity, worst first; "NOT JUDGED" only where there are any."""
    counts = {name: ranking.filter(pl.col("severity") == name).height for name in reversed(tables.SEVERITIES)}
    unjudged = ranking["severity"].null_count()
    return counts | ({words.NOT_JUDGED: unjudged} if unjudged else {})


def _near_misses(data: ReportData, clips: list[ClipView]) -> list[dict[str, Any]]:
    """Rows of the near-miss table, in time order, with the ranks of the clips that show them."""
    return [
        event | {"ranks": [clip.rank for clip in clips if clip.start_sec <= event["timestamp_sec"] < clip.end_sec]}
        for event in data.shown_near_misses.to_dicts()
    ]


@dataclass(frozen=True)
class Strip:
    """The timeline at the top: everything as a share (0 to 1) of the video's duration."""

    clips: list[tuple[ClipView, float, float, int]]  # view, left, width, lane
    lanes: int
    near_misses: list[float]
    ticks: list[tuple[float, str]]
    curve: str  # SVG path of the fused score in a box 1000 wide and 100 high


def _strip(data: ReportData, clips: list[ClipView]) -> Strip:
    duration = max(data.video["duration_sec"], 1e-3)
    lanes: list[float] = []  # where each lane is free again
    placed = []
    for clip in sorted(clips, key=lambda clip: clip.start_sec):
        width = max((clip.end_sec - clip.start_sec) / duration, _STRIP_LANE_SHARE)
        left = min(max(clip.start_sec / duration, 0.0), max(1.0 - width, 0.0))
        lane = next((i for i, free in enumerate(lanes) if free <= left), len(lanes))
        lanes[lane : lane + 1] = [left + width]
        placed.append((clip, left, width, lane))
    step = next((s for s in (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600) if duration / s <= 8), 7200)
    ticks = [(tick * step / duration, words.clock(tick * step, 0)) for tick in range(int(duration / step) + 1)]
    return Strip(
        clips=placed,
        lanes=len(lanes),
        near_misses=[time / duration for time in data.shown_near_misses["timestamp_sec"]],
        ticks=[tick for tick in ticks if tick[0] <= 0.985],
        curve=_curve(plots.thinned(data.scores, 400), duration),
    )


def _curve(scores: pl.DataFrame, duration_sec: float) -> str:
    points = [
        f"{1000 * (start + end) / 2 / duration_sec:.1f} {100 - 100 * (fused or 0.0):.1f}"
        for start, end, fused in scores.select("start_sec", "end_sec", "fused_score").iter_rows()
    ]
    if not points:
        return ""
    first, last = (
        point.split()[1] for point in (points[0], points[-1])
    )  # held to the ends, where no window's middle is
    return f"M0 100 L0 {first} L{' L'.join(points)} L1000 {last} L1000 100 Z"


def _video_facts(video: Mapping[str, Any]) -> list[tuple[str, str]]:
    varies = "variable" if video["variable_frame_rate"] else "constant"
    low, high = video["min_frame_interval_sec"], video["max_frame_interval_sec"]
    frames = f"{video['frame_count']} frames, {words.quantity(video['mean_fps'])} a second on average ({varies} rate"
    if low is not None and high is not None:
        frames += f"; {1000 * low:.1f} to {1000 * high:.1f} ms between frames"
    if video["audio_source"] == "none":
        sound = "none"
    else:
        sound = f"{video['audio_codec']}, {video['audio_rate_hz']} Hz, {video['audio_channels']} channels"
        sound += " from a file beside the video" if video["audio_source"] == "sidecar" else ""
        sound += "; silent" if video["audio_silent"] else ""
    return [
        ("File", video["file_name"]),
        ("Size", words.size_words(video["size_bytes"])),
        ("Duration", f"{video['duration_sec']:.2f} s"),
        ("Picture", f"{video['width_px']} × {video['height_px']} px, rotation {video['rotation_deg']}°"),
        ("Frames", frames + ")"),
        ("Container and codec", f"{video['container']}, {video['video_codec']}"),
        ("Sound", sound),
    ]


def _provenance(data: ReportData) -> list[tuple[str, str]]:
    profile = data.profile
    rows = [
        ("Video id", data.video["video_id"]),
        ("Video SHA-256", data.video["sha256"]),
        ("Profile", f"{profile.name}, settings {profile.digest()}"),
        ("Perception settings", profile.perception.digest()),
        ("Mining settings", profile.mining.digest()),
        ("Near-miss settings", f"1.0: {profile.near_miss.digest()}; v2: {profile.near_miss_v2.digest()}"),
        ("Time-to-contact settings", profile.ttc.digest()),
        ("Correction settings", f"rule set {profile.correction.rule_set}, {profile.correction.digest()}"),
    ]
    answered_by = data.reason_outputs.select("reasoner", "model_id", "model_revision", "prompt_hash", "settings_hash")
    for row in answered_by.unique(maintain_order=True).iter_rows(named=True):
        rows.append(
            (
                "Reasoner",
                "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in row.items() if value is not None),
            )
        )
    return [*rows, *data.provenance.items()]


def _plotly_js() -> str:
    from plotly.offline import get_plotlyjs

    return safe_in_tag(get_plotlyjs())


def _template_text(name: str) -> str:
    """A template file as it stands, fit to be put inside a script or style element."""
    return safe_in_tag(resources.files("autorisk_dagster.reporting").joinpath("templates", name).read_text("utf-8"))


def _csp_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
