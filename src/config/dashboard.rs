//! `nn dashboard`, and the address of `--dashboard`, which need not be named.

use std::path::PathBuf;

use clap::{Arg, Args};
use toml::de::DeValue;

use super::security::ServerSecurityConfig;
use super::value::{Value, quoted};

/// The address of the page, unless another is given.
pub(crate) const LISTEN: &str = "127.0.0.1:8090";

/// Flags of `nn dashboard`.
#[derive(Debug, Clone, Args)]
pub struct DashboardArgs {
    /// Folders of runs, or folders with runs in them, such as that of a sweep
    #[arg(value_name = "DIR", default_value = "runs")]
    folders: Vec<PathBuf>,
    /// Address and port to listen on; port 0 takes a free one
    ///
    /// Other machines need a token (--token-file), unless --insecure is given
    #[arg(long, value_name = "ADDR", default_value = LISTEN)]
    listen: String,
    /// Open the page in a browser
    #[arg(long)]
    open: bool,
    /// Certificate of the server, in PEM; it turns TLS on
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of --tls-cert, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// File with the token that browsers must show; the page asks for it. nn certs token makes one
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Listen to other machines without a token: everyone who reaches the port may look
    #[arg(long)]
    insecure: bool,
}

/// A dashboard, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DashboardConfig {
    /// The folders that are shown; none for the run of this process.
    pub folders: Vec<PathBuf>,
    /// The host and the port to listen on.
    pub listen: String,
    /// Whether to open the page in a browser.
    pub open: bool,
    /// The certificate and the token.
    pub security: ServerSecurityConfig,
}

impl DashboardArgs {
    /// What the flags ask for.
    #[must_use]
    pub fn into_config(self) -> DashboardConfig {
        let Self { folders, listen, open, tls_cert, tls_key, token_file, insecure } = self;
        let identity = tls_cert.zip(tls_key);
        let security =
            ServerSecurityConfig { identity, token_file, insecure, ..ServerSecurityConfig::default() };
        DashboardConfig { folders, listen, open, security }
    }
}

/// The address of `--dashboard`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageAddress(pub String);

impl PageAddress {
    /// The usual one.
    #[must_use]
    pub fn usual() -> Self {
        Self(LISTEN.to_owned())
    }
}

impl Value for PageAddress {
    const NAME: &'static str = "ADDR";

    fn expected() -> String {
        "true, or an address and a port in quotes".into()
    }

    fn expected_text() -> String {
        "true, or an address and a port".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("it is empty".into()),
            "true" => Ok(Self::usual()),
            address => Ok(Self(address.into())),
        }
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        match value {
            DeValue::Boolean(true) => Some(Self::usual()),
            DeValue::String(text) => Self::from_text(text).ok(),
            _ => None,
        }
    }

    fn to_toml(&self) -> Option<String> {
        Some(quoted(&self.0))
    }

    fn shape(arg: Arg) -> Arg {
        arg.num_args(0..=1).default_missing_value("true")
    }
}
