//! Reads certificates, keys and tokens, and says who was not let in.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use nn_net::{
    Authorities, ClientSecurity, CoordinatorHandle, Identity, Pem, Refusal, SecurityError, ServerSecurity,
    Token,
};

use crate::clock::Clock;
use crate::config::{ClientSecurityConfig, ServerSecurityConfig};
use crate::failure::Failure;
use crate::progress::above;

/// More than any certificate, key or token has; a wrong path may lead to something endless.
const LONGEST: u64 = 1 << 20;

/// What a coordinator asks of those who dial it.
pub(super) fn server(config: &ServerSecurityConfig) -> Result<ServerSecurity, Failure> {
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

/// What one who dials shows and trusts.
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

/// Refuses to listen to other machines without knowing who they are.
pub(super) fn check_exposure(
    listen: &str,
    address: SocketAddr,
    security: &ServerSecurity,
    insecure: bool,
) -> Result<(), Failure> {
    if address.ip().to_canonical().is_loopback() || security.knows_its_peers() {
        return Ok(());
    }
    let who = "whoever can reach this port could join the run, read its data and its weights, and bend the training";
    if insecure {
        warn(&format!("--insecure: {who}"));
        return Ok(());
    }
    let but = if security.has_tls() {
        ", as --tls-cert alone hides what is said, but asks nobody who they are"
    } else {
        ""
    };
    Err(Failure::usage(format_args!("--listen {listen} is open to other machines, and {who}{but}")).help(
        "let only those in who show a certificate (nn certs init, then --tls-cert, --tls-key, --tls-ca and \
         --require-client-cert) or a token (nn certs token, then --token-file); --listen 127.0.0.1:PORT is for this \
         machine only; --insecure does without, on a network where you trust everybody",
    ))
}

fn identity(cert: &Path, key: &Path) -> Result<Identity, Failure> {
    let certificate = pem(cert)?;
    warn_if_others_can_read(key);
    let identity = Identity::from_pem(&certificate, &pem(key)?).map_err(wrong)?;
    let days = identity.facts().days_left();
    if days < EXPIRES_SOON {
        let days = if days == 1 { "1 day".to_owned() } else { format!("{days} days") };
        warn(&format!(
            "the certificate in {} expires in {days}; make a new one with nn certs, and restart with it",
            cert.display()
        ));
    }
    Ok(identity)
}

/// Days before which nothing is said.
const EXPIRES_SOON: i64 = 14;

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
    // What is wrong with it is said without repeating it.
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format_args!("{name} holds no token: it is not text")))?;
    Token::parse(&text).map_err(|error| Failure::usage(format_args!("{name}: {error}")))
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
            "{} has more than {LONGEST} bytes, and is no certificate, key or token",
            path.display()
        )));
    }
    Ok(bytes)
}

fn wrong(error: SecurityError) -> Failure {
    Failure::usage(error)
}

/// A secret that all users of a machine can read is none.
#[cfg(unix)]
fn warn_if_others_can_read(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if let Ok(facts) = std::fs::metadata(path)
        && facts.is_file()
        && facts.permissions().mode() & 0o004 != 0
    {
        let path = path.display();
        warn(&format!("everybody on this machine can read {path}, which is a secret: chmod 600 {path}"));
    }
}

#[cfg(not(unix))]
fn warn_if_others_can_read(_: &Path) {}

fn warn(text: &str) {
    above(|| {
        let _ = writeln!(std::io::stderr(), "warning: {text}");
    });
}

/// Tells who was not let in: at once, and if it goes on, how often, now and then.
#[derive(Debug)]
pub(super) struct Doorman {
    clock: Clock,
    told: HashMap<(Option<IpAddr>, &'static str), (Duration, u64)>,
}

/// How often the same is said of the same address.
const AGAIN: Duration = Duration::from_secs(10);
/// So many sorts of refusals are told apart.
const TOLD: usize = 256;

impl Doorman {
    pub(super) fn new() -> Self {
        Self { clock: Clock::start(), told: HashMap::new() }
    }

    /// Says what is new.
    pub(super) fn tell(&mut self, handle: &CoordinatorHandle) {
        let now = self.clock.now();
        for refusal in handle.take_refusals() {
            let key = (refusal.address, refusal.what);
            if !self.told.contains_key(&key) {
                if self.told.len() >= TOLD {
                    self.told.retain(|_, (last, kept)| *kept > 0 || now.saturating_sub(*last) < AGAIN);
                }
                if self.told.len() >= TOLD {
                    continue; // nobody reads so many
                }
                warn(&refusal.to_string());
                self.told.insert(key, (now, 0));
            } else if let Some((_, kept)) = self.told.get_mut(&key) {
                *kept += refusal.times;
            }
        }
        for (&(address, what), (last, kept)) in &mut self.told {
            if *kept > 0 && now.saturating_sub(*last) >= AGAIN {
                warn(&Refusal::new(address, what, *kept).to_string());
                (*last, *kept) = (now, 0);
            }
        }
    }
}
