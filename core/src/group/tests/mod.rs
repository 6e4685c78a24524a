//! Groups, with their log played here.

mod members;
mod model;
mod offsets;
mod world;
