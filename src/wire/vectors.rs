//! (golden vectors: filled by the test data)
