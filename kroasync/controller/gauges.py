"""Connect the metrics that are read at scrape time to the parts that they measure."""

from collections.abc import Callable

from kroasync.controller.wiring import Parts
from kroasync.controller.workqueue import WorkQueue
from kroasync.metrics import DEFINITION_QUEUE, INSTANCE_QUEUE, REVISION_QUEUE, Samples
from kroasync.model.objects import Key


def let_metrics_read(parts: Parts) -> None:
    """Let the metrics read these parts."""
    metrics, caches, watches, clock = parts.given.metrics, parts.caches, parts.watches, parts.given.clock
    instances, definitions = parts.queues.instances, parts.queues.definitions

    def of_queues(value: Callable[[WorkQueue[Key]], float]) -> Callable[[], Samples]:
        return lambda: {
            (DEFINITION_QUEUE, DEFINITION_QUEUE): value(definitions),
            (REVISION_QUEUE, REVISION_QUEUE): 0,
            (INSTANCE_QUEUE, INSTANCE_QUEUE): value(instances),
        }

    metrics.cel_expr_eval_total.read_from(lambda: {(): metrics.cel_expr_eval_duration_seconds.count()})
    metrics.workqueue_depth.read_from(
        lambda: {
            (DEFINITION_QUEUE, DEFINITION_QUEUE, "0"): len(definitions),
            (REVISION_QUEUE, REVISION_QUEUE, "0"): 0,
            (INSTANCE_QUEUE, INSTANCE_QUEUE, ""): len(instances),
        }
    )
    metrics.workqueue_adds_total.read_from(of_queues(lambda queue: queue.adds))
    metrics.workqueue_retries_total.read_from(of_queues(lambda queue: queue.retries))
    metrics.workqueue_unfinished_work_seconds.read_from(of_queues(lambda queue: sum(queue.work_ages())))
    metrics.workqueue_longest_running_processor_seconds.read_from(
        of_queues(lambda queue: max(queue.work_ages(), default=0.0))
    )
    workers = parts.given.options.definition_workers
    metrics.controller_runtime_max_concurrent_reconciles.read_from(
        lambda: {(DEFINITION_QUEUE,): workers, (REVISION_QUEUE,): 0}
    )
    metrics.controller_runtime_active_workers.read_from(
        lambda: {(DEFINITION_QUEUE,): definitions.in_work, (REVISION_QUEUE,): 0}
    )
    metrics.kroasync_workqueue_depth.read_from(
        lambda: {
            ("ready",): len(instances),
            ("in-work",): instances.in_work,
            ("delayed",): instances.delayed,
        }
    )
    metrics.dynamic_controller_queue_length.read_from(lambda: {(): len(instances)})
    metrics.dynamic_controller_gvr_count.read_from(lambda: {(): len(caches.kinds)})
    metrics.dynamic_controller_handler_count_total.read_from(lambda: {("parent",): len(caches.kinds)})
    metrics.dynamic_controller_watch_count.read_from(lambda: {(): len(list(watches.items()))})
    metrics.dynamic_controller_instance_watch_count.read_from(caches.kinds.sizes)
    metrics.dynamic_controller_watch_request_count.read_from(watches.requested)
    metrics.kroasync_watch_last_event_age_seconds.read_from(lambda: watches.ages(clock()))
    metrics.kroasync_strangers.read_from(caches.children.strangers)
    metrics.graph_revision_registry_entries.read_from(
        lambda: {("pending",): 0, ("failed",): 0, **caches.revisions.counts()}
    )
    metrics.schema_resolver_cache_size.read_from(lambda: {(): len(caches.cluster)})
