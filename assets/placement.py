"""Where a step of the fleet runs: the Celery queue it waits in, and what its container asks of Kubernetes.

| class | queue | Kubernetes |
|---|---|---|
| CPU | cpu | 1 core, 1 GiB, at most 4 (decoding takes 0.35 GB at any length: docs/performance.md) |
| GPU | gpu | one NVIDIA GPU, 4 cores, 16 GiB of memory; chosen here, no model was measured |

The tags do nothing without their executor: in-process runs read neither, and Celery reads the queue alone.
"""

from collections.abc import Mapping
from typing import Any

QUEUE_TAG = "dagster-celery/queue"
KUBERNETES_TAG = "dagster-k8s/config"


def _placed(queue: str, requests: Mapping[str, str], limits: Mapping[str, str]) -> dict[str, Any]:
    resources = {"requests": dict(requests), "limits": dict(limits)}
    return {QUEUE_TAG: queue, KUBERNETES_TAG: {"container_config": {"resources": resources}}}


CPU = _placed("cpu", {"cpu": "1", "memory": "1Gi"}, {"memory": "4Gi"})
GPU = _placed("gpu", {"cpu": "4", "memory": "16Gi"}, {"memory": "16Gi", "nvidia.com/gpu": "1"})
