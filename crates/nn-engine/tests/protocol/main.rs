//! The protocol as scripts: one coordinator, made-up gradients, and what must come of each event.

mod audits;
mod deadlines;
mod layers;
mod members;
mod refusals;
mod script;
mod snapshots;
mod waiting;
