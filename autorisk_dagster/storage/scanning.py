"""How Polars reads Parquet files of a storage where they lie, by its own client."""

from __future__ import annotations

import os
from typing import Any

from autorisk_dagster.errors import BucketError
from autorisk_dagster.storage import S3, Storage

_RETRIES = 5


def scan_options(storage: Storage) -> dict[str, Any]:
    """Arguments of `polars.scan_parquet` for files of `storage`; none for a folder.

    Credentials are handed over by a function when files are read: no plan, log or table holds them.
    """
    if not storage.root.startswith(S3):
        return {}
    options: dict[str, Any] = {"max_retries": _RETRIES}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        options |= {"aws_endpoint_url": endpoint, "aws_allow_http": str(endpoint.startswith("http://")).lower()}
    region = os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION")
    if region or endpoint:
        options["aws_region"] = region or "us-east-1"
    return {"storage_options": options, "credential_provider": lambda: _credentials(storage.root)}


def _credentials(url: str) -> tuple[dict[str, str | None], int | None]:
    """What botocore finds, as every other request uses it, and when to ask again (seconds since 1970)."""
    import time

    import botocore.session

    found = botocore.session.get_session().get_credentials()
    if found is None:
        raise BucketError(url, "there are no credentials", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    now = found.get_frozen_credentials()
    keys = {
        "aws_access_key_id": now.access_key,
        "aws_secret_access_key": now.secret_key,
        "aws_session_token": now.token,
    }
    return {name: value for name, value in keys.items() if value}, int(time.time()) + 600
