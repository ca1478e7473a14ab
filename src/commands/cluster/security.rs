//! Reading certificates, keys and tokens, and reporting refused connections.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use nn_net::{Authorities, ClientSecurity, Identity, Pem, Refusal, SecurityError, ServerSecurity, Token};

use crate::clock::{self, Clock};
use crate::config::{ClientSecurityConfig, ServerSecurityConfig};
use crate::failure::Failure;
use crate::progress::warn;

/// More bytes than any certificate, key or token has. A wrong path may lead to an endless file.
const LONGEST: u64 = 1 << 20;

/// A certificate with fewer days left gives a warning.
pub(in crate::commands) const EXPIRES_SOON: i64 = 14;

/// The proofs that a coordinator demands from its peers.
pub(in crate::commands) fn server(config: &ServerSecurityConfig) -> Result<ServerSecurity, Failure> {
    let mut security = ServerSecurity::default();
    if let Some((cert, key)) = &config.identity {
        let identity = identity(cert, key)?;
        let authority = config.authority.as_deref().map(authority).transpose()?;
        security =
            security.with_tls(identity, authority.as_ref(), config.require_client_cert).map_err(wrong)?;
    }
    if let Some(path) = &config.token_file {
        security = security.with_token(token(path)?);
    }
    Ok(security)
}

/// The proofs that a client shows, and the authorities that it trusts.
pub(in crate::commands) fn client(config: &ClientSecurityConfig) -> Result<ClientSecurity, Failure> {
    let mut security = ClientSecurity::default();
    if config.tls {
        let trusted = match &config.authority {
            Some(path) => authority(path)?,
            None => Authorities::of_the_system().map_err(wrong)?,
        };
        let identity = config.identity.as_ref().map(|(cert, key)| identity(cert, key)).transpose()?;
        security = security.with_tls(trusted, identity).map_err(wrong)?;
        if let Some(name) = &config.name {
            security = security
                .with_name(name)
                .map_err(|error| Failure::usage(format_args!("--tls-name: {error}")))?;
        }
    }
    if let Some(path) = &config.token_file {
        security = security.with_token(token(path)?);
    }
    Ok(security)
}

/// What strangers could do to a service, and how to keep them out.
pub(in crate::commands) struct Exposure {
    /// The option that names the address, and the one that allows it.
    pub(in crate::commands) listen: &'static str,
    pub(in crate::commands) insecure: &'static str,
    pub(in crate::commands) risk: &'static str,
    pub(in crate::commands) remedy: &'static str,
}

/// A run that others could join.
const OF_RUN: Exposure = Exposure {
    listen: "--listen",
    insecure: "--insecure",
    risk: "anyone who can reach this port could join the run, read its data and weights, and manipulate the training",
    remedy: "require a certificate (nn certs init, then --tls-cert, --tls-key, --tls-ca and --require-client-cert) or a \
             token (nn certs token, then --token-file); or use --listen 127.0.0.1:PORT for this machine only; or \
             --insecure on a network where you trust everyone",
};

/// Refuses to let other machines join a run without authenticating them.
pub(in crate::commands) fn check_exposure(
    listen: &str,
    address: SocketAddr,
    security: &ServerSecurity,
    insecure: bool,
) -> Result<(), Failure> {
    check_exposure_of(&OF_RUN, listen, address, security, insecure)
}

/// Refuses to listen to other machines without authenticating them.
pub(in crate::commands) fn check_exposure_of(
    exposure: &Exposure,
    listen: &str,
    address: SocketAddr,
    security: &ServerSecurity,
    insecure: bool,
) -> Result<(), Failure> {
    if address.ip().to_canonical().is_loopback() || security.knows_its_peers() {
        return Ok(());
    }
    let Exposure { risk, remedy, listen: flag, insecure: allow } = exposure;
    if insecure {
        warn(format_args!("{allow}: {risk}"));
        return Ok(());
    }
    let tls_alone = if security.has_tls() {
        "; a certificate alone encrypts connections but does not authenticate clients"
    } else {
        ""
    };
    Err(Failure::usage(format_args!("{flag} {listen} is open to other machines: {risk}{tls_alone}"))
        .help(remedy))
}

fn identity(cert: &Path, key: &Path) -> Result<Identity, Failure> {
    let certificate = pem(cert)?;
    warn_if_others_can_read(key);
    let identity = Identity::from_pem(&certificate, &pem(key)?).map_err(wrong)?;
    let days = identity.facts().days_left(clock::date());
    if days < EXPIRES_SOON {
        let days = if days == 1 { "1 day".to_owned() } else { format!("{days} days") };
        warn(format_args!(
            "the certificate in {} expires in {days}; create a new one with nn certs, and restart with it",
            cert.display()
        ));
    }
    Ok(identity)
}

fn authority(path: &Path) -> Result<Authorities, Failure> {
    Authorities::from_pem(&pem(path)?).map_err(wrong)
}

fn token(path: &Path) -> Result<Token, Failure> {
    let name = path.display();
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(LONGEST).read_to_end(&mut bytes).map(|_| bytes).map_err(|error| {
            Failure::usage(format_args!("cannot read the token from standard input: {error}"))
        })?
    } else {
        warn_if_others_can_read(path);
        read(path)?
    };
    // Errors must not quote the token.
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format_args!("{name} does not hold a token: it is not text")))?;
    Token::parse(&text).map_err(|error| Failure::usage(format_args!("{name}: {error}")))
}

/// A random token in hexadecimal. Nobody can guess its 256 bits.
pub(in crate::commands) fn random_token() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::failed(format_args!("the system provides no random numbers: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn pem(path: &Path) -> Result<Pem, Failure> {
    Ok(Pem { name: path.display().to_string(), bytes: read(path)? })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let cannot =
        |error: std::io::Error| Failure::usage(format_args!("cannot read {}: {error}", path.display()));
    let mut bytes = Vec::new();
    let read = File::open(path).map_err(cannot)?.take(LONGEST + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if read as u64 > LONGEST {
        return Err(Failure::usage(format_args!(
            "{} has more than {LONGEST} bytes, so it is not a certificate, key or token",
            path.display()
        )));
    }
    Ok(bytes)
}

fn wrong(error: SecurityError) -> Failure {
    Failure::usage(error)
}

/// Warns if all users of this machine can read a secret.
#[cfg(unix)]
fn warn_if_others_can_read(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if let Ok(facts) = std::fs::metadata(path)
        && facts.is_file()
        && facts.permissions().mode() & 0o004 != 0
    {
        let path = path.display();
        warn(format_args!("everyone on this machine can read {path}, which is secret: chmod 600 {path}"));
    }
}

#[cfg(not(unix))]
fn warn_if_others_can_read(_: &Path) {}

/// Warns about refused connections: the first time at once, repetitions as a count at intervals.
#[derive(Debug)]
pub(in crate::commands) struct Doorman {
    clock: Clock,
    /// By address and reason: the time of the last warning, and the refusals since then.
    warned: HashMap<(Option<IpAddr>, &'static str), (Duration, u64)>,
}

/// The interval between warnings with the same address and reason.
const INTERVAL: Duration = Duration::from_secs(10);
/// The most pairs of address and reason that are tracked.
const TRACKED: usize = 256;

impl Doorman {
    pub(in crate::commands) fn new() -> Self {
        Self { clock: Clock::start(), warned: HashMap::new() }
    }

    /// Warns about refusals.
    pub(in crate::commands) fn report(&mut self, refusals: Vec<Refusal>) {
        let now = self.clock.now();
        for refusal in refusals {
            let key = (refusal.address, refusal.what);
            if let Some((_, repeated)) = self.warned.get_mut(&key) {
                *repeated += refusal.times;
                continue;
            }
            if self.warned.len() >= TRACKED {
                self.warned
                    .retain(|_, (last, repeated)| *repeated > 0 || now.saturating_sub(*last) < INTERVAL);
            }
            if self.warned.len() < TRACKED {
                warn(&refusal);
                self.warned.insert(key, (now, 0));
            }
        }
        for (&(address, what), (last, repeated)) in &mut self.warned {
            if *repeated > 0 && now.saturating_sub(*last) >= INTERVAL {
                warn(Refusal::new(address, what, *repeated));
                (*last, *repeated) = (now, 0);
            }
        }
    }
}
