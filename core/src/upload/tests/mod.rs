//! The uploader against a store that fails and a controller that takes its time.

mod failures;
mod order;
mod world;
