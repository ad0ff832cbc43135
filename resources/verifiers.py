"""The verifiers of proposed events, injected: one endpoint, named by the environment, and one log a contract."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import dagster as dg

from resources.machine import CONCURRENCY, machine_settings

if TYPE_CHECKING:
    from autorisk_dagster.verification.contract import Contract
    from autorisk_dagster.verification.verifier import Verifier


class Verifiers(dg.ConfigurableResource["Verifiers"]):
    """Builds verifiers. `COSMOS_NIM_URL` names the endpoint when they are built; without it they are stubs, which
    confirm nothing and say so. `root` holds the logs; the rest are settings of the machine.
    """

    root: str
    deadline_sec: float = 30.0
    tries: int = 3
    concurrency: int = 4

    @classmethod
    def on_this_machine(cls, root: str, environment: Mapping[str, str] = os.environ) -> Self:
        """With what the environment says of this machine (`resources.machine`).

        Raises:
            InputError: a variable is no number in its range.
        """
        return cls(root=root, **machine_settings(CONCURRENCY, environment))

    def log_path(self, contract: str) -> Path:
        """Where the verdicts by `contract` are recorded."""
        return Path(self.root) / f"{contract}.jsonl"

    def get(self, contract: Contract) -> Verifier:
        """A verifier by `contract`.

        Raises:
            BackendError: the environment names no valid address.
        """
        from autorisk_dagster.verification.endpoint import ChatClient, Endpoint
        from autorisk_dagster.verification.event_log import EventLog
        from autorisk_dagster.verification.verifier import Verifier

        endpoint = Endpoint.from_environment(os.environ)
        client = None
        if endpoint is not None:
            client = ChatClient(replace(endpoint, deadline_sec=self.deadline_sec, tries=self.tries))
        return Verifier(contract, client, EventLog(self.log_path(contract.name)))
