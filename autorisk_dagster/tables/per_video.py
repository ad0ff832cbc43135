"""The tables of one video, in the order of the graph."""

from __future__ import annotations

import polars as pl

from autorisk_dagster.tables.vocabulary import (
    CHECKLIST_ITEMS,
    GENERATIONS,
    HAZARD_KINDS,
    NEAR_MISS_VERSIONS,
    OUTCOMES,
    PACK_REVIEWS,
    REVIEW_STATES,
    RISK_LEVELS,
    ROAD_USERS,
    RULES,
    SCENARIOS,
    SEVERITIES,
    SEVERITY,
    SIGNALS,
    VERIFICATIONS,
    WORLD_MODELS,
    Schema,
)

SOURCE_VIDEO: Schema = {
    "video_id": pl.String,
    "file_name": pl.String,
    "sha256": pl.String,
    "size_bytes": pl.Int64,
    "profile": pl.String,
    "container": pl.String,
    "video_codec": pl.String,
    "width_px": pl.Int64,  # upright, square pixels: what a viewer sees
    "height_px": pl.Int64,
    "rotation_deg": pl.Int64,
    "pixel_aspect": pl.Float64,
    "duration_sec": pl.Float64,
    "start_pts_sec": pl.Float64,
    "frame_count": pl.Int64,
    "mean_fps": pl.Float64,
    "min_frame_interval_sec": pl.Float64,
    "max_frame_interval_sec": pl.Float64,
    "variable_frame_rate": pl.Boolean,
    "audio_source": pl.Enum(["stream", "sidecar", "none"]),
    "audio_codec": pl.String,
    "audio_rate_hz": pl.Int64,
    "audio_channels": pl.Int64,
    "audio_silent": pl.Boolean,
    "footage_url": pl.String,  # in a bucket; null: it lies in a folder, whose path is in the ledger alone
    "origin_url": pl.String,  # fetched from there; null, and so what follows: the operator's own
    "licence": pl.String,
    "licence_from": pl.Enum(["site", "operator"]),
    "fetched_at": pl.String,  # ISO 8601
    "rights_acknowledged_by": pl.String,
}

FRAME_SIGNALS: Schema = {
    "window_index": pl.Int64,
    "start_sec": pl.Float64,
    "end_sec": pl.Float64,
    "frames": pl.Int64,  # frames decoded in the window
    "audio_rms": pl.Float64,  # all audio columns are null where there is no sound to measure
    "audio_delta_rms": pl.Float64,
    "horn_band_share": pl.Float64,
    "loudness_over_floor_db": pl.Float64,
    "tonality": pl.Float64,
    "flow_mean_px": pl.Float64,  # px of a frame 240 px high, per 0.1 s
    "flow_variance_px2": pl.Float64,
    "scene_cuts": pl.Int64,
    "detections": pl.Int64,
    "nearest_area_share": pl.Float64,  # largest road user's box area / frame area
    "nearest_center_distance": pl.Float64,  # its distance from the frame centre / half diagonal
    "proximity": pl.Float64,
}

TRACKS: Schema = {
    "frame_index": pl.Int64,  # counts processed frames, from 0
    "source_frame": pl.Int64,  # counts decoded frames, from 0
    "timestamp_sec": pl.Float64,
    "scene_index": pl.Int64,
    "track_id": pl.Int64,  # null: not followed (unconfirmed, or still)
    "road_user": pl.Enum(ROAD_USERS),
    "label": pl.String,
    "confidence": pl.Float64,
    "x1_px": pl.Float64,
    "y1_px": pl.Float64,
    "x2_px": pl.Float64,
    "y2_px": pl.Float64,
    "still": pl.Boolean,  # own bonnet, dashboard or burnt-in overlay
}

EGO_MOTION: Schema = {  # one row a pair of flow frames, from the background's flow; px of the full upright frame
    "timestamp_sec": pl.Float64,  # of the pair's later frame
    "gap_sec": pl.Float64,  # between the two frames
    "pan_px_per_sec": pl.Float64,  # shift of a far point to the right: the own car turns left; null: cannot say
    "tilt_px_per_sec": pl.Float64,  # shift of a far point downwards
    "roll_rad_per_sec": pl.Float64,
    # Road at y px under the horizon moves down by this times y^2: own speed / (camera height * focal length in px).
    "road_flow_per_px_sec": pl.Float64,
    "support": pl.Float64,  # share of the grid that follows the fitted motion
    "still_share": pl.Float64,  # of the texture, above or below the horizon, whichever is less; null: nothing to follow
}

MINED_CLIPS: Schema = {
    "clip_id": pl.String,
    "mining_rank": pl.Int64,
    "start_sec": pl.Float64,
    "end_sec": pl.Float64,
    "peak_sec": pl.Float64,
    "fused_score": pl.Float64,
    "fused_score_seed": pl.Float64,
    "audio_score": pl.Float64,
    "motion_score": pl.Float64,
    "proximity_score": pl.Float64,
    "raised_by": pl.Enum(SIGNALS),
    "raised_by_share": pl.Float64,  # that signal's part of the fused score
    "has_audio": pl.Boolean,
    "frame_count": pl.Int64,
    "clip_written_by": pl.Enum(["stream_copy", "encoded"]),  # the recorder's own packets, or encoded anew
    "clip_path": pl.String,
    "clip_sha256": pl.String,
}

TTC_SAMPLE = pl.Struct(
    {
        "timestamp_sec": pl.Float64,
        "track_id": pl.Int64,
        "ttc_sec": pl.Float64,
        "low_sec": pl.Float64,
        "high_sec": pl.Float64,
    }
)

SHAREABLE_CLIPS: Schema = {  # what may leave the system: the evidence clip itself, or a copy with parts hidden
    "clip_id": pl.String,
    "clip_path": pl.String,
    "clip_sha256": pl.String,
    "evidence_sha256": pl.String,  # of the evidence clip it shows
    "hidden_by": pl.String,  # what looked for faces and plates; null: nothing is hidden, the profile does not ask
    "hidden_boxes": pl.Int64,  # over all its frames
}

CLIP_TTC: Schema = {
    "clip_id": pl.String,
    "tracks": pl.Int64,
    "samples": pl.Int64,  # samples whose TTC is a number or inf
    "min_ttc_sec": pl.Float64,  # null: cannot say; inf: tracked, nothing approaches
    "min_ttc_low_sec": pl.Float64,
    "min_ttc_high_sec": pl.Float64,
    "min_ttc_at_sec": pl.Float64,
    "min_ttc_track_id": pl.Int64,
    "min_ttc_label": pl.String,
    "min_area_tau_sec": pl.Float64,
    "critical_tracks": pl.Int64,
    "timeline": pl.List(TTC_SAMPLE),
}

CONFLICT_MEASURES: Schema = {  # own vehicle against one followed road user, one row a processed sample of it
    "frame_index": pl.Int64,
    "timestamp_sec": pl.Float64,
    "track_id": pl.Int64,
    "label": pl.String,
    "ttc_sec": pl.Float64,  # by expansion: inf: not approaching; null: cannot say
    "ttc_low_sec": pl.Float64,
    "ttc_high_sec": pl.Float64,
    "bearing_px": pl.Float64,  # middle of its box right of the frame's middle
    "bearing_rate_px_per_sec": pl.Float64,  # own turning taken out
    "miss_widths": pl.Float64,  # where it passes the camera, right positive, in its own widths; null: cannot say
    "in_own_path": pl.Boolean,
    "on_collision_course": pl.Boolean,  # approaches significantly, and passes within the own path
    "gap_m": pl.Float64,  # free room between the own flank's path and it; 0: in the own path
    "inward_mps": pl.Float64,  # its speed into that room; null in the own path
    "inward_error_mps": pl.Float64,  # standard error
    "contact_gap_m": pl.Float64,  # free room at contact if it moves on as it did, upper end; null: no finite TTC
    "distance_m": pl.Float64,  # of its near end from the camera
    "distance_low_m": pl.Float64,  # 90 % interval; its factor holds for all that follow in m and m/s
    "distance_high_m": pl.Float64,
    "lateral_m": pl.Float64,  # its middle beside the own path, right positive
    "closing_mps": pl.Float64,  # positive: nearer
    "own_speed_mps": pl.Float64,  # null unless the profile gives camera height and focal length
    "headway_sec": pl.Float64,  # of what is in the own path; null as the own speed is
    "ttc_space_sec": pl.Float64,  # distance / closing speed; inf: not closing
    "ttc_2d_sec": pl.Float64,  # until the two meet in the plane; inf: they do not
    "drac_mps2": pl.Float64,  # braking that ends the closing before contact; 0: none needed
    "pet_sec": pl.Float64,  # at the sample where it has just left the own path: until the own car is there
}

NEAR_MISS_EVENTS: Schema = {
    "event_id": pl.String,
    "version": pl.Enum(NEAR_MISS_VERSIONS),  # which profile found it; the same encounter may be in both
    "actors": pl.String,  # "car 2 and bus 5", "own vehicle and car 4"
    "frame_index": pl.Int64,
    "source_frame": pl.Int64,
    "timestamp_sec": pl.Float64,  # true presentation time of the source frame; v2: of the worst moment
    "start_sec": pl.Float64,  # of the encounter; 1.0 knows one moment only
    "end_sec": pl.Float64,
    "object_id_1": pl.Int64,
    "object_id_2": pl.Int64,  # null, like all of the second object: the own vehicle
    "class_1": pl.String,
    "class_2": pl.String,
    "label_1": pl.String,
    "label_2": pl.String,
    "distance_px": pl.Float64,  # 1.0: of the centres, v2: of the ground contacts
    "gap_m": pl.Float64,  # v2: free room between the two; with the own vehicle the distance ahead; null: not measured
    "closing_mps": pl.Float64,  # v2: how fast the gap closed; null: not measured
    "ttc_sec": pl.Float64,  # null: diverging
    "risk_score": pl.Float64,
    "risk_level": pl.Enum(RISK_LEVELS),
    "conf_1": pl.Float64,
    "conf_2": pl.Float64,
    "evidence": pl.String,  # v2: what was measured, in words
}

HAZARD = pl.Struct({"type": pl.String, "actors": pl.List(pl.String), "spatial_relation": pl.String})

VOTE = pl.Struct({"temperature": pl.Float64, "severity": SEVERITY, "raw_text": pl.String})

REASON_OUTPUTS: Schema = {
    "clip_id": pl.String,
    "outcome": pl.Enum(OUTCOMES),
    "severity": SEVERITY,  # null unless the outcome is "severity"
    "hazards": pl.List(HAZARD),
    "causal_reasoning": pl.String,
    "short_term_prediction": pl.String,
    "recommended_action": pl.String,
    "evidence": pl.List(pl.String),
    "confidence": pl.Float64,  # null unless it was measured
    "reasoner": pl.String,
    "model_id": pl.String,
    "model_revision": pl.String,
    "adapter": pl.String,
    "clip_sha256": pl.String,  # of the file that was judged
    "prompt_hash": pl.String,
    "settings_hash": pl.String,
    "raw_text": pl.String,
    "parse_layer": pl.String,
    "error": pl.String,
    "votes": pl.List(VOTE),  # all that follow are null for a reasoner that is no model
    "vote_margin": pl.Float64,
    "supplement_text": pl.String,  # answer to the second pass for a missing prediction or action
    "letter_log_probability": pl.Struct(dict.fromkeys(SEVERITIES, pl.Float64)),
    "letter_mass": pl.Float64,
    "prompt_tokens": pl.Int64,
    "answer_tokens": pl.Int64,
    "seconds": pl.Float64,
    "notes": pl.List(pl.String),
}

SALIENCY_MAPS: Schema = {
    "clip_id": pl.String,
    "severity": SEVERITY,  # whose log-odds were differentiated; null where nothing was
    "log_odds": pl.Float64,
    "times_sec": pl.List(pl.Float64),  # of the frames the model saw, in the source
    "frame_share": pl.List(pl.Float64),  # of the sensitivity
    "peak_sec": pl.Float64,
    "peak_x_share": pl.Float64,  # where in that frame, from the left and from the top
    "peak_y_share": pl.Float64,
    "overlay_path": pl.String,
    "overlay_sha256": pl.String,
    "clip_sha256": pl.String,
    "model_id": pl.String,
    "model_revision": pl.String,
    "adapter": pl.String,
    "prompt_hash": pl.String,
    "notes": pl.List(pl.String),  # such as a smaller budget of pixels, where memory did not suffice
    "reason": pl.String,  # why nothing was measured
}

VERIFIED_EVENTS: Schema = {
    "event_id": pl.String,  # of NEAR_MISS_EVENTS
    "version": pl.String,
    "actors": pl.String,
    "timestamp_sec": pl.Float64,
    "risk_level": pl.Enum(RISK_LEVELS),
    "outcome": pl.Enum(VERIFICATIONS),
    "reason_category": pl.String,  # null, like the next two, where the model was not heard
    "rationale": pl.String,
    "stated_confidence": pl.Float64,  # written by the model, not measured
    "verifier": pl.String,  # model id; "stub": no endpoint is set
    "contract_hash": pl.String,
    "evidence_frames": pl.Int64,
    "error": pl.String,
}

EXPLANATION_CHECKLIST: Schema = {  # one row an item and judged clip
    "clip_id": pl.String,
    "item": pl.Enum(CHECKLIST_ITEMS),
    "holds": pl.Boolean,  # null: cannot be checked
    "evidence": pl.String,  # what was said, and what was measured
    "clip_sha256": pl.String,  # of the file that was judged
}

CORRECTED_SEVERITIES: Schema = {
    "clip_id": pl.String,
    "raw_severity": SEVERITY,
    "severity": SEVERITY,
    "rule": pl.Enum(RULES),  # null: no rule fired
    "rule_set": pl.String,
    "ttc_read_sec": pl.Float64,  # the quantities the rules read, as they read them
    "fused_read": pl.Float64,
    "critical_tracks": pl.Int64,
}

SEVERITY_RANKING: Schema = {
    "rank": pl.Int64,
    "clip_id": pl.String,
    "severity": SEVERITY,
    "start_sec": pl.Float64,
    "end_sec": pl.Float64,
    "min_ttc_sec": pl.Float64,
    "near_miss_events": pl.Int64,
    "worst_risk_score": pl.Float64,
    "fused_score": pl.Float64,
}

PREDICT_VIDEOS: Schema = {  # one row a mined clip: what happens next
    "clip_id": pl.String,
    "scenario": pl.Enum(SCENARIOS),
    "severity": SEVERITY,  # corrected
    "outcome": pl.Enum(GENERATIONS),
    "error": pl.String,  # why there is no video; null exactly where there is one
    "world_model": pl.Enum(WORLD_MODELS),  # null, like all that follow but the clip's hash, where none was asked
    "model_id": pl.String,
    "model_revision": pl.String,
    "hazard": pl.Enum(HAZARD_KINDS),
    "prompt": pl.String,
    "prompt_hash": pl.String,
    "seed": pl.Int64,  # null: nothing is drawn by chance
    "settings_hash": pl.String,
    "clip_sha256": pl.String,  # of the file whose frame is the condition
    "condition_sec": pl.Float64,  # time of that frame in the source
    "hidden_by": pl.String,  # what hid faces and plates in all that is footage in it; null: nothing is hidden
    "attempts": pl.Int64,
    "seconds": pl.Float64,
    "peak_memory_mb": pl.Float64,  # of the accelerator, or of the process where there is none
    "video_path": pl.String,  # null, like all that follow, unless the outcome is "generated"
    "video_sha256": pl.String,
    "frame_count": pl.Int64,
    "fps": pl.Float64,
    "contact_sec": pl.Float64,  # kinematic: predicted contact, after the condition; null: none predicted
    "contact_low_sec": pl.Float64,  # 90 % interval
    "contact_high_sec": pl.Float64,
    "contact_between": pl.String,  # "own vehicle and car #4"
    "first_frame_ssim": pl.Float64,  # first frame against the condition; 1: the same
    "lowest_neighbour_ssim": pl.Float64,  # least similarity of two neighbouring frames, motion taken out
    "actors_wanted": pl.Int64,  # the hazard's road users in the condition
    "actors_found": pl.Int64,  # those that the detector finds in the video
}

COUNTERFACTUALS: Schema = {  # two rows a mined clip: no reaction ("danger"), and the right one ("safe")
    **PREDICT_VIDEOS,
    "comparison_path": pl.String,  # original, danger and safe side by side; the same in both rows
    "comparison_sha256": pl.String,
    "pair_ssim": pl.Float64,  # danger against safe, mean over the frames; 1: they do not differ
}

REVIEW_QUEUE: Schema = {  # one row a clip of the ranking; see severity/queue.py
    "position": pl.Int64,  # 1 first: what must be reviewed and is open, by label_value; then the rest
    "clip_id": pl.String,
    "clip_sha256": pl.String,
    "start_sec": pl.Float64,
    "end_sec": pl.Float64,
    "outcome": pl.Enum(OUTCOMES),
    "raw_severity": SEVERITY,
    "severity": SEVERITY,  # final: what the policy is about
    "rule": pl.Enum(RULES),
    "severity_set": pl.List(SEVERITY),  # holds the truth as often as the profile says; all four where it cannot be said
    "set_calibrated": pl.Boolean,  # false: all four for want of labels, not for what the clip shows
    "must_review": pl.Boolean,
    "reasons": pl.List(pl.String),  # in words, one a rule of the policy that asks for a review; empty: none does
    "label_value": pl.Float64,  # expected cost that a label saves, in the profile's units
    "state": pl.Enum(REVIEW_STATES),
}

AUDIT_PACK: Schema = {  # one row
    "video_id": pl.String,
    "pack_path": pl.String,
    "pack_sha256": pl.String,  # of the file
    "pack_digest": pl.String,  # SHA-256 of the pack's manifest: names its content, signed or not
    "size_bytes": pl.Int64,
    "files": pl.Int64,
    "clips": pl.Int64,
    "key_id": pl.String,  # whose signature is in it; null: it is not signed
    "credentials": pl.Int64,  # clips and videos in it that carry a C2PA content credential
    "synthetic": pl.Int64,  # generated videos in it, each marked as such
    "review": pl.Enum(PACK_REVIEWS),
    "unreviewed": pl.Int64,  # clips that the policy wants reviewed and that are not; null: nothing says which
}
