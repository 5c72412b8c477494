"""Connect the metrics that are read at scrape time to the parts that they measure."""

from kroasync.controller.wiring import Parts


def let_metrics_read(parts: Parts) -> None:
    """Let the metrics read these parts."""
    metrics, caches, watches, clock = parts.given.metrics, parts.caches, parts.watches, parts.given.clock
    instances = parts.queues.instances
    queues = {("definitions",): parts.queues.definitions, ("instances",): instances}
    metrics.workqueue_depth.read_from(lambda: {name: len(queue) for name, queue in queues.items()})
    metrics.workqueue_adds_total.read_from(lambda: {name: queue.adds for name, queue in queues.items()})
    metrics.workqueue_retries_total.read_from(lambda: {name: queue.retries for name, queue in queues.items()})
    metrics.kroasync_workqueue_depth.read_from(
        lambda: {
            ("ready",): len(instances),
            ("in-work",): instances.in_work,
            ("delayed",): instances.delayed,
        }
    )
    metrics.dynamic_controller_queue_length.read_from(lambda: {(): len(instances)})
    metrics.dynamic_controller_gvr_count.read_from(lambda: {(): len(caches.kinds)})
    metrics.dynamic_controller_watch_count.read_from(lambda: {(): len(list(watches.items()))})
    metrics.dynamic_controller_instance_watch_count.read_from(caches.kinds.sizes)
    metrics.dynamic_controller_watch_request_count.read_from(watches.requested)
    metrics.kroasync_watch_last_event_age_seconds.read_from(lambda: watches.ages(clock()))
    metrics.kroasync_strangers.read_from(caches.children.strangers)
    metrics.graph_revision_registry_entries.read_from(caches.revisions.counts)
    metrics.schema_resolver_cache_size.read_from(lambda: {(): len(caches.cluster)})
