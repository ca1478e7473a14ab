//! The generated messages and services of `proto/nn/v1`.

#![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]

tonic::include_proto!("nn.v1");

/// The descriptor of `proto/nn/v1`, for the reflection service.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/nn.v1.bin"));

/// The version of the protocol.
pub const PROTOCOL: u32 = 1;
