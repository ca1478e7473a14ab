//! nn
fn main() {}
