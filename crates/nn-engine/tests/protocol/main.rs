//! The protocol as scripts: one coordinator, made-up gradients, and the actions that must follow from each event.

mod audits;
mod deadlines;
mod layers;
mod members;
mod own;
mod refusals;
mod script;
mod snapshots;
mod waiting;
