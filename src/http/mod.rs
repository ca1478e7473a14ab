//! Servers of plain HTTP for people and their tools: connections within limits, and names that only this machine has.
//!
//! | File | Contents |
//! | --- | --- |
//! | `server.rs` | connections: accepted up to a limit, served, and let finish at the end |
//! | `stream.rs` | a connection whose peer must not keep an answer waiting |
//! | `host.rs` | the names by which requests call this machine |

mod host;
mod server;
mod stream;

pub(crate) use self::host::is_of_this_machine;
pub(crate) use self::server::{Connections, run};
