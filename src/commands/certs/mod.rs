//! `nn certs`: a private CA, and certificates for the coordinator and its workers, so that mutual TLS takes two commands.

mod authority;
mod files;
mod host;
mod next;
mod show;

use std::path::Path;
use std::time::SystemTime;

use crate::certificate::date;
use crate::clock;
use crate::config::{CertsConfig, Host};
use crate::failure::{Failure, write_stdout};
use authority::{Authority, Holder, Signed, hosts_of, new_key, paths, read_certificate, read_key};
use files::{Access, Existing, Folder, Staged};
use host::hosts_of_this_machine;

/// Does what was asked.
pub(crate) fn certs(config: &CertsConfig) -> Result<(), Failure> {
    let now = clock::date();
    match config {
        CertsConfig::Init { dir, keep: true, .. } if all_there(dir, &["ca", "coordinator"]) => stays(dir),
        CertsConfig::Worker { name, dir, keep: true, .. } if all_there(dir, &[name]) => {
            stays(&paths(dir, name).0)
        }
        CertsConfig::Token { file, keep: true } if file.exists() => stays(file),
        CertsConfig::Init { dir, hosts, days, ca_days, .. } => init(dir, hosts, *days, *ca_days, now),
        CertsConfig::Worker { name, dir, days, replace, .. } => worker(name, dir, *days, *replace, now),
        CertsConfig::Coordinator { dir, hosts, days, replace } => {
            coordinator(dir, hosts, *days, *replace, now)
        }
        CertsConfig::Token { file, .. } => token(file),
        CertsConfig::Show { files } => show::show(files, now),
    }
}

/// Whether these have both a certificate and a key.
fn all_there(dir: &Path, names: &[&str]) -> bool {
    names.iter().map(|name| paths(dir, name)).all(|(pem, key)| pem.exists() && key.exists())
}

/// With `--keep`, what is there already is as good.
fn stays(what: &Path) -> Result<(), Failure> {
    write_stdout(format!("{} is there already, and stays\n", what.display()))
}

fn init(dir: &Path, hosts: &[Host], days: u32, ca_days: u32, now: SystemTime) -> Result<(), Failure> {
    let (ca_pem, ca_key) = paths(dir, "ca");
    let (pem, key_path) = paths(dir, "coordinator");
    if ca_pem.exists() && ca_key.exists() {
        return Err(Failure::usage(format_args!("there is a CA in {} already, and it stays", dir.display())).help(
            format_args!(
                "for another certificate of the coordinator: nn certs coordinator --replace{}; for a second CA: \
                 nn certs init --dir NEW; to give this one up, with all certificates of its, remove that folder",
                next::dir_flag(dir)
            ),
        ));
    }
    if let Some(there) = [&ca_pem, &ca_key, &pem, &key_path].into_iter().find(|path| path.exists()) {
        return Err(Failure::usage(format_args!(
            "{} exists already, and is not written over",
            there.display()
        ))
        .help("name another folder with --dir, or move that file away"));
    }
    let hosts = hosts_of_this_machine(hosts)?;
    let ca = Authority::make(ca_days, now)?;
    let key = new_key()?;
    let signed = ca.sign(Holder::Coordinator { hosts: &hosts }, &key, days, now)?;

    let folder = Folder::make(dir)?;
    let mut staged = Staged::default();
    // The CA's key first: of two that do this at the same time, the other one fails here.
    staged.add(ca_key.clone(), &ca.key().serialize_pem(), Access::Secret, Existing::Keep)?;
    staged.add(ca_pem.clone(), ca.pem(), Access::Public, Existing::Keep)?;
    staged.add(key_path.clone(), &key.serialize_pem(), Access::Secret, Existing::Keep)?;
    staged.add(pem.clone(), &signed.pem, Access::Public, Existing::Keep)?;
    staged.commit()?;
    folder.keep();

    let mut text = next::files(&[
        (&ca_pem, format!("the CA's certificate, valid until {}", date(ca.ends()))),
        (&ca_key, "its key, which signs: it stays here, and nobody else gets it".to_owned()),
        (&pem, format!("the coordinator's certificate, {}", until(&signed))),
        (&key_path, "its key".to_owned()),
    ]);
    text += &next::names(&hosts);
    text += &next::coordinator(dir);
    text += &format!("\nFor each worker, here:\n\n  nn certs worker NAME{}\n", next::dir_flag(dir));
    write_stdout(text)
}

fn worker(name: &str, dir: &Path, days: u32, replace: bool, now: SystemTime) -> Result<(), Failure> {
    let ca = Authority::read(dir, now)?;
    let (pem, key_path) = paths(dir, name);
    let signed = issue(&ca, Holder::Worker { name }, (&pem, &key_path), days, replace, now)?;
    let mut text = next::files(&[
        (&pem, format!("the certificate of the worker {name}, {}", until(&signed))),
        (&key_path, "its key".to_owned()),
    ]);
    // Where the coordinator has no certificate of this CA, its host is for the user to fill in.
    let hosts = read_certificate(&dir.join("coordinator.pem")).map(|(certificate, _)| hosts_of(&certificate));
    text += &next::worker(dir, name, &hosts.unwrap_or_default());
    write_stdout(text)
}

fn coordinator(dir: &Path, hosts: &[Host], days: u32, replace: bool, now: SystemTime) -> Result<(), Failure> {
    let ca = Authority::read(dir, now)?;
    let (pem, key_path) = paths(dir, "coordinator");
    let hosts = hosts_of_this_machine(hosts)?;
    let before = read_certificate(&pem).map(|(certificate, _)| hosts_of(&certificate)).unwrap_or_default();
    let holder = Holder::Coordinator { hosts: &hosts };
    let signed = issue(&ca, holder, (&pem, &key_path), days, replace, now)?;
    let mut text = next::files(&[
        (&pem, format!("the coordinator's certificate, {}", until(&signed))),
        (&key_path, "its key".to_owned()),
    ]);
    text += &next::names(&hosts);
    let gone: Vec<String> =
        before.iter().filter(|host| !hosts.contains(host)).map(ToString::to_string).collect();
    if !gone.is_empty() {
        text += &format!(
            "It is no longer for {}, as the one before it was; --host adds what is missing.\n",
            gone.join(", ")
        );
    }
    text += &next::coordinator(dir);
    write_stdout(text)
}

/// Signs a certificate and puts it and its key into their places. A key that is there stays, so that replacing is the
/// replacing of one file: there is no moment at which the certificate is another key's.
fn issue(
    ca: &Authority,
    holder: Holder<'_>,
    (pem, key_path): (&Path, &Path),
    days: u32,
    replace: bool,
    now: SystemTime,
) -> Result<Signed, Failure> {
    if !replace && let Some(there) = [pem, key_path].into_iter().find(|path| path.exists()) {
        return Err(Failure::usage(format_args!("{} exists already, and is not written over", there.display()))
            .help("add --replace for a new certificate of the same key; for a new key too, remove the old one first"));
    }
    let mut staged = Staged::default();
    let key = if key_path.exists() {
        read_key(key_path)?
    } else {
        let key = new_key()?;
        staged.add(key_path.to_owned(), &key.serialize_pem(), Access::Secret, Existing::Keep)?;
        key
    };
    let signed = ca.sign(holder, &key, days, now)?;
    let existing = if replace { Existing::Replace } else { Existing::Keep };
    staged.add(pem.to_owned(), &signed.pem, Access::Public, existing)?;
    staged.commit()?;
    Ok(signed)
}

fn until(signed: &Signed) -> String {
    let why = if signed.shortened { ", as long as the CA" } else { "" };
    format!("valid until {}{why}", date(signed.ends))
}

/// How many random bytes a token has: nobody guesses 256 bits.
const TOKEN_BYTES: usize = 32;

fn token(file: &Path) -> Result<(), Failure> {
    if file.exists() {
        return Err(Failure::usage(format_args!(
            "{} exists already, and is not written over",
            file.display()
        ))
        .help("name another file, or remove that one: whoever has only the old token is then not let in"));
    }
    let mut random = [0; TOKEN_BYTES];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::failed(format_args!("the system gives no random numbers: {error}")))?;
    let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut staged = Staged::default();
    staged.add(file.to_owned(), &format!("{token}\n"), Access::Secret, Existing::Keep)?;
    staged.commit()?;
    write_stdout(next::files(&[(file, "a token: whoever has it is let in".to_owned())]) + &next::token(file))
}
