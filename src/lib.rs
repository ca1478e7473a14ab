//! nn

pub mod cli;
pub mod config;
pub mod failure;
pub mod metrics;
pub mod picture;
pub mod show;
