"""One engine for every contract: ask the model about a proposal, read its verdict strictly, log it by the event's id.

A verifier never fails: what goes wrong anywhere becomes the contract's conservative reject. Where no endpoint is
configured it is a stub, which rejects everything and says so; it never lets anything pass.
"""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from autorisk_dagster.verification.contract import Contract, Proposal, Reading, Verdict, read, rejected
from autorisk_dagster.verification.endpoint import URL_VARIABLE, ChatClient, NoAnswerError
from autorisk_dagster.verification.event_log import EventLog

# Seed 001, "How to construct the API call".
MAX_TOKENS: Final = 256
TEMPERATURE: Final = 0.1

Source = Literal["model", "reject", "stub"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verified:
    """A verdict and how it came about.

    Attributes:
        verdict: holds the contract's schema
        source: "model": the model was heard; "reject": something failed; "stub": no model is configured
        error: what failed; None where the model was heard
        tries: requests sent
        latency_sec: from being asked to the verdict
    """

    verdict: Verdict
    source: Source
    error: str | None
    tries: int
    latency_sec: float


class Verifier:
    """Judges proposals by one contract.

    Args:
        contract: what is asked and what a verdict must hold
        client: the model; None makes a stub
        log: where every verdict is recorded; None records nothing
    """

    def __init__(self, contract: Contract, client: ChatClient | None, log: EventLog | None) -> None:
        self.contract = contract
        self.client = client
        self.log = log

    @property
    def model(self) -> str:
        """Model id, "stub" without one."""
        return self.client.endpoint.model if self.client else "stub"

    def verify(self, proposal: Proposal, frames: Sequence[bytes]) -> Verified:
        """The verdict on `proposal`, shown in JPEG `frames`. Never raises."""
        received_at = datetime.now(UTC)
        begin = time.monotonic()
        asked = self._ask(proposal, frames)
        verified = Verified(
            asked.reading.verdict, asked.source, asked.reading.error, asked.tries, time.monotonic() - begin
        )
        if self.log is None:
            return verified
        try:
            self.log.append(self._record(proposal, frames, asked, verified, received_at))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            _log.exception("verdict on %s could not be recorded", proposal.event_id)
            failure = f"the verdict could not be recorded: {type(error).__name__}"
            reading = rejected(self.contract, proposal.context, failure)
            return Verified(reading.verdict, "reject", reading.error, asked.tries, verified.latency_sec)
        return verified

    def _ask(self, proposal: Proposal, frames: Sequence[bytes]) -> _Asked:
        if self.client is None:
            failure = f"stub: {URL_VARIABLE} is not set, no model looked at this"
            return _Asked(Reading(self.contract.reject(proposal.context, failure), failure), "stub", 0, None)
        tries, raw_text = 0, None
        try:
            answer = self.client.complete(
                messages(self.contract, proposal, frames), max_tokens=MAX_TOKENS, temperature=TEMPERATURE
            )
            tries, raw_text = answer.tries, answer.content
            reading = read(self.contract, answer.content, proposal.context)
            if reading.error and answer.finish_reason == "length":
                reading = rejected(self.contract, proposal.context, f"cut at {MAX_TOKENS} tokens: {reading.error}")
        except NoAnswerError as error:
            tries, raw_text = error.tries, error.raw_text
            reading = rejected(self.contract, proposal.context, str(error))
        except Exception as error:  # a gate that fails must close, whatever failed
            _log.exception("verification of %s failed", proposal.event_id)
            reading = rejected(self.contract, proposal.context, f"the verifier failed: {type(error).__name__}")
        return _Asked(reading, "model" if reading.error is None else "reject", tries, raw_text)

    def _record(
        self,
        proposal: Proposal,
        frames: Sequence[bytes],
        asked: _Asked,
        verified: Verified,
        received_at: datetime,
    ) -> dict[str, Any]:
        return {
            "event_id": proposal.event_id,
            "contract": self.contract.name,
            "contract_version": self.contract.version,
            "contract_hash": self.contract.hash,
            "model": self.model,
            "received_at": received_at.isoformat(),
            "answered_at": datetime.now(UTC).isoformat(),
            "latency_sec": verified.latency_sec,
            "source": verified.source,
            "tries": verified.tries,
            "context": dict(proposal.context),
            "features": dict(proposal.features),
            "frames": len(frames),
            "verdict": verified.verdict,
            "confirmed": verified.source == "model" and self.contract.confirms(verified.verdict),
            "raw_text": asked.raw_text,
            "error": verified.error,
        }


@dataclass(frozen=True)
class _Asked:
    reading: Reading
    source: Source
    tries: int
    raw_text: str | None


def messages(contract: Contract, proposal: Proposal, frames: Sequence[bytes]) -> list[dict[str, Any]]:
    """The conversation of seed 001: the contract's prompt, then the frames in order, then the context as JSON."""
    pictures = [
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(frame).decode()}"}}
        for frame in frames
    ]
    return [
        {"role": "system", "content": contract.system_prompt},
        {"role": "user", "content": [*pictures, {"type": "text", "text": json.dumps(dict(proposal.context))}]},
    ]
