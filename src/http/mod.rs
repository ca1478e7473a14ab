//! Servers of plain HTTP for people and their tools: connections within limits, and names that only this machine has.
//!
//! | File | Contents |
//! | --- | --- |
//! | `server.rs` | connections: accepted up to a limit, served, and let finish at the end |
//! | `aside.rs` | a server on a thread of its own, beside other work |
//! | `stream.rs` | a connection whose peer must not keep an answer waiting |
//! | `host.rs` | the names by which requests call this machine |
//! | `browser.rs` | opening a page in the user's browser |
//! | `guard.rs` | what every request passes, and what every answer carries |
//! | `refusal.rs` | requests that are refused, and why |

mod aside;
mod browser;
mod guard;
mod host;
mod refusal;
mod server;
mod stream;

pub(crate) use self::aside::Aside;
pub(crate) use self::browser::open_browser;
pub(crate) use self::guard::{Guard, guard};
pub(crate) use self::host::is_of_this_machine;
pub(crate) use self::refusal::{Reason, Refusal};
pub(crate) use self::server::{Connections, run, run_counting};
