//! (stub, the counters of one core)

/// Counters of one core.
#[derive(Clone, Debug, Default)]
pub struct ServerStats {}
