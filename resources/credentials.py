"""Content credentials of generated videos and handed-over clips, each attached once and kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from resources.media_store import MediaStore, sha256_of

if TYPE_CHECKING:
    from autorisk_dagster.audit.credentials import CredentialKeys


class Credentials(dg.ConfigurableResource["Credentials"]):
    """Signs with the keys that `AUTORISK_AUDIT_KEYS` names, else with the installation's own under `root`.

    A credential draws by chance. It is attached to a file once, under a name that says what it was made from: so that
    the same video has the same hash, and the same data version, when it is made again.
    """

    root: str

    def in_force(self) -> CredentialKeys:
        """The keys in force.

        Raises:
            InputError: they cannot be read, or others can read them.
        """
        from autorisk_dagster.audit.credentials import CredentialKeys

        return CredentialKeys.of(Path(self.root))

    def carried(self, path: Path, definition: Mapping[str, Any]) -> bool:
        """Whether the file at `path` carries this credential, whole, by the keys in force."""
        from autorisk_dagster.audit.credentials import holds, read_credential

        return holds(read_credential(path, self.in_force().root_pem), definition)

    def attached(self, source: Path, definition: Mapping[str, Any], media: MediaStore, stem: str) -> str:
        """A copy of `source` with its credential; its path in the media store begins with `stem`.

        Raises:
            InputError: the file cannot carry one.
        """
        from autorisk_dagster.audit.credentials import attach, content_key

        keys = self.in_force()
        relative = f"{stem}-{content_key(definition, sha256_of(source), keys.chain_pem)}.mp4"
        path = media.path(relative)
        if not (path.exists() and self.carried(path, definition)):
            with media.writing(relative) as target:
                attach(source, target, definition, keys)
        return relative
