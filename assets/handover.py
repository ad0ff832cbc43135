"""The clips and generated videos as they leave the house: as `shareable_clips` says, with a content credential."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from autorisk_dagster.errors import InputError
from resources.credentials import Credentials
from resources.media_store import MediaStore, sha256_of

if TYPE_CHECKING:
    from autorisk_dagster.audit.pack import Video

GENERATED_BY = ("predict_videos", "counterfactuals")
Row = dict[str, Any]


@dataclass(frozen=True)
class GeneratedVideos:
    """`videos` go into the pack, by clip id; those named in `withheld` do not."""

    videos: "dict[str, list[Video]]"
    withheld: list[str]


@dataclass
class Handover:
    """Makes the files that a pack holds; each is made once and kept under what it was made from.

    Kept, because a content credential draws by chance: two packs of one state would differ otherwise.

    Attributes:
        folder: in the media store
    """

    media: MediaStore
    folder: str
    credentials: Credentials
    kept: set[str] = field(default_factory=set)

    def clips(self, found: Mapping[str, pl.DataFrame]) -> "dict[str, Video]":
        """The clips of a video, by clip id."""
        from autorisk_dagster.audit.credentials import clip_credential
        from autorisk_dagster.audit.trace import plain

        source = found["source_video"].row(0, named=True)
        answers, corrected, shared = (
            {row["clip_id"]: row for row in found[asset].iter_rows(named=True)}
            for asset in ("reason_outputs", "corrected_severities", "shareable_clips")
        )
        made = {}
        for clip in found["mined_clips"].iter_rows(named=True):
            clip_id = clip["clip_id"]
            shown = shared[clip_id]
            hidden = f"{shown['hidden_boxes']} boxes, by {shown['hidden_by']}" if shown["hidden_by"] else "nothing"
            facts = clip_facts(clip, source, answers[clip_id], corrected[clip_id]) | {"hidden": hidden}
            made[clip_id] = self._credentialed(
                f"clips/{clip_id}.mp4",
                self._whole(shown["clip_path"], shown["clip_sha256"]),
                clip_credential(plain(facts), source),
                {"role": "clip", "synthetic": False, "hidden": hidden, "evidence_sha256": clip["clip_sha256"]},
            )
        return made

    def generated(self, found: Mapping[str, pl.DataFrame], hidden_by: str | None) -> GeneratedVideos:
        """The generated videos; each is marked as synthetic.

        Args:
            found: tables by asset
            hidden_by: what must have hidden faces and plates in them; None: nothing needs to be hidden
        """
        from autorisk_dagster.audit.credentials import SOURCE_TYPES, generated_credential, hidden_words

        made: dict[str, list[Video]] = {}
        withheld = []
        for asset in GENERATED_BY:
            for row in found[asset].iter_rows(named=True) if asset in found else ():
                if row["outcome"] != "generated":
                    continue
                name = f"generated/{row['clip_id']}-{row['scenario']}.mp4"
                did = row.get("hidden_by")  # a table of before there was hiding has no such column
                if hidden_by is not None and did != hidden_by:
                    withheld.append(name)
                    continue
                record = {
                    "role": "generated video, no evidence of what happened",
                    "synthetic": True,
                    "digital_source_type": SOURCE_TYPES[row["world_model"]],
                    "hidden": hidden_words(row),
                    "evidence_sha256": row["clip_sha256"],
                }
                path = self._whole(row["video_path"], row["video_sha256"])
                video = self._credentialed(name, path, generated_credential(row), record)
                made.setdefault(row["clip_id"], []).append(video)
        return GeneratedVideos(made, withheld)

    def keep_only(self) -> None:
        """Delete what earlier packs kept and this one does not need."""
        self.media.keep_only(self.folder, self.kept)

    def _whole(self, relative: str, digest: str) -> Path:
        path = self.media.path(relative)
        if not path.exists() or sha256_of(path) != digest:
            raise InputError(
                f"{relative} is missing or not the file its table names; make it again: autorisk run --again"
            )
        return path

    def _credentialed(self, name: str, path: Path, definition: Row, record: Row) -> "Video":
        """The file at `path` where it carries the credential (a generated video does), else a copy that does."""
        from autorisk_dagster.audit.pack import Video

        if not self.credentials.carried(path, definition):
            stem = f"{self.folder}/{Path(name).stem}"
            relative = self.credentials.attached(path, definition, self.media, stem)
            self.kept.add(relative)
            path = self.media.path(relative)
        signer = self.credentials.in_force().subject
        return Video(name, path, {**record, "content_credential": {"standard": "C2PA", "signer": signer}})


def clip_facts(clip: Row, source: Row, answer: Row, corrected: Row) -> Row:
    """What a clip's content credential says: where it was cut, and the verdict with what gave it."""
    return {
        "video_id": source["video_id"],
        "source_sha256": source["sha256"],
        **{name: clip[name] for name in ("clip_id", "clip_sha256", "start_sec", "end_sec", "clip_written_by")},
        **{name: corrected[name] for name in ("raw_severity", "severity", "rule", "rule_set")},
        "outcome": answer["outcome"],
        **{name: answer[name] for name in ("reasoner", "model_id", "model_revision", "adapter", "prompt_hash")},
    }
