//! The simulation command.
fn main() {}
