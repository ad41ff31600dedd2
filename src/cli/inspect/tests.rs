//! Inspect against recorded files.
