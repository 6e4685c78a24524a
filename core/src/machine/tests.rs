//! The laws that can be shown on one machine.
