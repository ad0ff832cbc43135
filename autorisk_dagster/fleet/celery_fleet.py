"""The fleet's executor and its Celery application, both from `configs/dagster_celery.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
from celery import Celery
from dagster._core.execution.retries import RetryMode
from dagster_celery.cli import get_validated_config
from dagster_celery.executor import CELERY_CONFIG, CeleryExecutor
from dagster_celery.make_app import make_app

from autorisk_dagster.fleet.deployment import celery_file, celery_settings
from autorisk_dagster.fleet.orphans import PROCESS_TAG, this_process


class FleetExecutor(CeleryExecutor):  # type: ignore[misc]
    """`CeleryExecutor`, which says in the run's tags which process hands out its steps."""

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        """Hand the plan's steps to the workers and yield their events."""
        plan_context.instance.add_run_tags(plan_context.run_id, {PROCESS_TAG: this_process()})
        yield from super().execute(plan_context, execution_plan)


@dg.executor(
    name="celery",
    config_schema=CELERY_CONFIG,
    requirements=dg.multiple_process_executor_requirements(),
)
def celery_executor(context: dg.InitExecutorContext) -> FleetExecutor:
    """Steps as tasks of Celery; the same settings as dagster-celery's executor."""
    config: Any = context.executor_config
    return FleetExecutor(
        broker=config.get("broker"),
        backend=config.get("backend"),
        config_source=config.get("config_source"),
        include=config.get("include"),
        retries=RetryMode.from_config(config["retries"]),
    )


def fleet_executor() -> dg.ExecutorDefinition:
    """The executor with the fleet's settings; addresses stay names of environment variables until a run begins."""
    return celery_executor.configured(celery_settings())


def fleet_app() -> Celery:
    """The application of a worker."""
    celery_settings()  # refuses a file that would send us to RabbitMQ
    config = get_validated_config(str(celery_file()))
    return make_app(
        CeleryExecutor.for_cli(
            broker=config["broker"], backend=config["backend"], config_source=config["config_source"]
        ).app_args()
    )
