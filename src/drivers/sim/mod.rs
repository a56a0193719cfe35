//! The `sim` backend: a truth of its own, with latency and faults on demand.
