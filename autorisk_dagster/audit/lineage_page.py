"""The page of one severity's lineage: the steps as a picture, the frames, and every step with what holds."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib import resources
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from autorisk_dagster.audit.lineage import Lineage, Step, told
from autorisk_dagster.reporting import words
from autorisk_dagster.reporting.dashboard import PipelineNode
from autorisk_dagster.reporting.dashboard.pipeline_picture import draw


def lineage_page(lineage: Lineage, frames: Sequence[tuple[float, bytes]]) -> str:
    """The page as HTML that needs nothing but itself; its links lead into the UI that serves it.

    Args:
        lineage: what it shows
        frames: presentation time in the source and JPEG, in the order of time
    """
    environment = Environment(
        loader=PackageLoader("autorisk_dagster.audit"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"clock": words.clock, "quoted": lambda text: quote(text, safe="")}
    style = resources.files("autorisk_dagster.reporting").joinpath("templates", "report.css").read_text("utf-8")
    own = resources.files("autorisk_dagster.audit").joinpath("templates", "lineage.css").read_text("utf-8")
    return environment.get_template("lineage.html.j2").render(
        lineage=lineage,
        style=Markup(style + own),  # nosec B704
        badge=lineage.severity or words.NOT_JUDGED,
        picture=draw([_node(step) for step in lineage.steps]),
        steps={step.asset: step for step in lineage.steps},
        frames=[(at_sec, base64.b64encode(jpeg).decode()) for at_sec, jpeg in frames],
        broken=[finding for finding in lineage.findings if not finding.holds],
        counted=words.counted,
        told=told,
    )


def _node(step: Step) -> PipelineNode:
    return PipelineNode(
        name=step.asset,
        group="",
        parents=step.parents,
        made=sum(finding.holds for finding in step.findings),
        of=len(step.findings),
        per_video=True,
    )
