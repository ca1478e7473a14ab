//! Opening the page in the user's browser.

use std::process::{Command, Stdio};
use std::thread;

use crate::progress::warn;

/// The system's way to open an address.
const OPENERS: &[&str] = if cfg!(target_os = "macos") {
    &["open"]
} else if cfg!(windows) {
    &["explorer"]
} else {
    &["xdg-open", "gio open", "wslview"]
};

/// Opens an address in a browser, beside the server. That it cannot is no reason not to serve.
pub(crate) fn open_browser(url: &str) {
    let url = url.to_owned();
    // A browser that this starts may run as long as the server.
    let _detached = thread::spawn(move || {
        if !OPENERS.iter().any(|opener| opens(opener, &url)) {
            warn(format_args!("no browser could be opened here; open {url} in one"));
        }
    });
}

fn opens(opener: &str, url: &str) -> bool {
    let mut words = opener.split(' ');
    let Some(program) = words.next() else { return false };
    let mut command = Command::new(program);
    command.args(words).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
