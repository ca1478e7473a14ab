//! The generated messages and services of `proto/nn/v1`.

#![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]

tonic::include_proto!("nn.v1");

/// The descriptor of `proto/nn/v1`, for the reflection service.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/nn.v1.bin"));

/// The version of the protocol.
pub const PROTOCOL: u32 = 1;

/// The number, in a status, of the worker in the coordinator's own process. Those of connections begin with 1.
pub const OWN_WORKER: u64 = 0;
