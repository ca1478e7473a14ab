//! `nn serve`: the model, the address, and the limits.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::defaults::available_threads;
use super::environment::Environment;
use super::limits::MAX_THREADS;
use super::metrics::{Metrics, MetricsConfig, MetricsOptions};
use super::option::{default, derived, required, unset};
use super::security::{ServerSecurityConfig, pair};
use super::table::{Options as _, options};
use crate::failure::Failure;

/// The address of the page, unless another is given.
const LISTEN: &str = "127.0.0.1:8080";

/// The longest name of a model.
const LONGEST_NAME: usize = 100;

options! {
    /// The options of `nn serve`.
    ServeOptions => Serve {
        group metrics: MetricsOptions => Metrics;
        "Server" {
            /// Trained model: a model.safetensors that nn train wrote
            model: PathBuf = required().takes("FILE").common();
            /// Address and port to listen on; port 0 takes a free one
            ///
            /// Other machines need a token (--token-file), unless --insecure is given
            listen: String = default(LISTEN.to_owned())
                .takes("ADDR")
                // Words, since the short help ends a default at its first colon.
                .of_machine("port 8080 of 127.0.0.1")
                .common();
            /// Open the page in a browser
            open: bool = default(false).common();
            /// Name of the model in the addresses of the protocol
            name: Option<String> = derived("that of the run's folder or of the file").common();
            /// Threads to compute with, one for each request
            threads: usize = default(available_threads().get())
                .takes("T")
                .within(1..=MAX_THREADS)
                .of_machine("all of the machine's")
                .common();
        }
        "Limits" {
            /// Largest body of a request, in MiB
            max_body: usize = default(16).takes("MIB").within(1..=1024).common();
            /// Requests at once; further ones are refused with 429
            max_requests: usize = default(64).within(1..=10_000).common();
            /// Connections at once; further ones are refused with 503
            max_connections: usize = default(256).within(1..=10_000).common();
            /// Seconds that a request may take, from its head to its answer
            timeout: u64 = default(30).takes("SECONDS").within(1..=3600).common();
        }
        "Security" {
            /// Certificate of the server, in PEM
            ///
            /// It turns TLS on. nn certs init makes one, which browsers trust once they trust its authority
            tls_cert: Option<PathBuf> = unset().common();
            /// Private key of --tls-cert, in PEM
            tls_key: Option<PathBuf> = unset().common();
            /// File with the token that clients must present, as Authorization: Bearer
            ///
            /// The page asks for it. nn certs token makes one. - stands for standard input
            token_file: Option<PathBuf> = unset().common();
            /// Listen to other machines without a token
            ///
            /// Everyone who reaches the port may use the model
            insecure: bool = default(false).common();
        }
    }
}

/// `nn serve`, checked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ServeConfig {
    /// The model's file.
    pub model: PathBuf,
    /// The host and the port to listen on.
    pub listen: String,
    /// Whether to open the page in a browser.
    pub open: bool,
    /// The model's name.
    pub name: String,
    /// Threads to compute with.
    pub threads: NonZeroUsize,
    /// The largest body of a request, in bytes.
    pub max_body: usize,
    /// The most requests at once.
    pub max_requests: usize,
    /// The most connections at once.
    pub max_connections: usize,
    /// The time that a request may take.
    pub timeout: Duration,
    /// The certificate and the token.
    pub security: ServerSecurityConfig,
    /// The figures for Prometheus.
    pub metrics: MetricsConfig,
}

impl ServeOptions {
    /// Completes the flags with variables, and checks the outcome.
    ///
    /// # Errors
    /// Exit code 2, naming the flag or the variable to blame.
    pub fn resolve(self, environment: &Environment) -> Result<ServeConfig, Failure> {
        let (options, origins) = environment.complete(self, None)?;
        let Serve {
            metrics,
            model,
            listen,
            open,
            name,
            threads,
            max_body,
            max_requests,
            max_connections,
            timeout,
            tls_cert,
            tls_key,
            token_file,
            insecure,
        } = options.check(&origins)?;
        let security = ServerSecurityConfig {
            identity: pair(tls_cert, tls_key, &origins)?,
            token_file,
            insecure,
            ..ServerSecurityConfig::default()
        };
        Ok(ServeConfig {
            name: match name {
                Some(name) => check_name(&origins.subject("name"), name)?,
                None => name_of(&model),
            },
            model,
            listen,
            open,
            threads: NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN),
            max_body: max_body << 20,
            max_requests,
            max_connections,
            timeout: Duration::from_secs(timeout),
            security,
            metrics: metrics.resolve(&origins)?,
        })
    }
}

/// Whether a character may stand in a model's name, which is a part of addresses.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

fn check_name(subject: &str, name: String) -> Result<String, Failure> {
    if !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(is_plain) {
        return Ok(name);
    }
    Err(Failure::usage(format_args!("{subject} {name:?} cannot stand in an address"))
        .help(format_args!("take letters, digits, -, _ and ., at most {LONGEST_NAME} of them")))
}

/// The name that a model's path suggests: that of the run's folder, or of a file that was renamed.
fn name_of(path: &Path) -> String {
    let part = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let stem = part(path.file_stem()).unwrap_or_default();
    let folder = path.parent().and_then(|folder| part(folder.file_name()));
    let name = match folder {
        Some(folder) if stem == "model" => folder,
        _ => stem,
    };
    let name: String = name.chars().map(|c| if is_plain(c) { c } else { '-' }).take(LONGEST_NAME).collect();
    if name.is_empty() { "model".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_called_as_its_run_or_its_file() {
        for (path, name) in [
            ("runs/digits/model.safetensors", "digits"),
            ("runs/my digits/model.safetensors", "my-digits"),
            ("model.safetensors", "model"),
            ("/tmp/penguins.v2.safetensors", "penguins.v2"),
            ("runs/mnist/checkpoints/best.safetensors", "best"),
            ("..", "model"),
        ] {
            assert_eq!(name_of(Path::new(path)), name, "{path}");
        }
    }

    #[test]
    fn options_have_defaults_and_limits() {
        let given = || ServeOptions { model: Some("m.safetensors".into()), ..ServeOptions::default() };
        let config = given().resolve(&Environment::default()).unwrap();
        assert_eq!((config.listen.as_str(), config.max_body, config.name.as_str()), (LISTEN, 16 << 20, "m"));
        for (wrong, part) in [
            (ServeOptions { name: Some("a/b".into()), ..given() }, "--name \"a/b\""),
            (ServeOptions { name: Some(String::new()), ..given() }, "--name \"\""),
            (ServeOptions { timeout: Some(0), ..given() }, "--timeout must be at least 1"),
            (ServeOptions { tls_cert: Some("c".into()), ..given() }, "--tls-cert needs --tls-key"),
        ] {
            let failure = wrong.resolve(&Environment::default()).unwrap_err();
            assert_eq!(failure.kind().exit_code(), 2);
            assert!(failure.message().contains(part), "{failure}");
        }
    }
}
