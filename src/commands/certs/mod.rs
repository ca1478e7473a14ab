//! `nn certs`: create a private CA and certificates for a coordinator and its workers, so that mutual TLS takes two
//! commands.

mod authority;
mod files;
mod host;
mod next;
mod show;

use std::path::Path;
use std::time::SystemTime;

use nn_net::utc_date;

use crate::clock;
use crate::commands::cluster::security::random_token;
use crate::config::{CertsConfig, Host};
use crate::failure::{Failure, write_stdout};
use authority::{Authority, Holder, Signed, hosts_of, new_key, paths, read_certificate, read_key};
use files::{Access, Existing, Folder, Staged};
use host::hosts_of_this_machine;

/// Runs the subcommand.
pub(crate) fn certs(config: &CertsConfig) -> Result<(), Failure> {
    let now = clock::date();
    match config {
        CertsConfig::Init { dir, keep: true, .. } if all_there(dir, &["ca", "coordinator"]) => kept(dir),
        CertsConfig::Worker { name, dir, keep: true, .. } if all_there(dir, &[name]) => {
            kept(&paths(dir, name).0)
        }
        CertsConfig::Token { file, keep: true } if file.exists() => kept(file),
        CertsConfig::Init { dir, hosts, days, ca_days, .. } => init(dir, hosts, *days, *ca_days, now),
        CertsConfig::Worker { name, dir, days, replace, .. } => worker(name, dir, *days, *replace, now),
        CertsConfig::Coordinator { dir, hosts, days, replace } => {
            coordinator(dir, hosts, *days, *replace, now)
        }
        CertsConfig::Token { file, .. } => token(file),
        CertsConfig::Show { files } => show::show(files, now),
    }
}

/// Whether all holders have both a certificate and a key.
fn all_there(dir: &Path, names: &[&str]) -> bool {
    names.iter().map(|name| paths(dir, name)).all(|(pem, key)| pem.exists() && key.exists())
}

/// Reports that `--keep` left an existing file or folder unchanged.
fn kept(path: &Path) -> Result<(), Failure> {
    write_stdout(format!("{} already exists and is kept\n", path.display()))
}

/// The failure of a command that would overwrite a file.
fn exists(path: &Path) -> Failure {
    Failure::usage(format_args!("{} already exists and is not overwritten", path.display()))
}

fn init(dir: &Path, hosts: &[Host], days: u32, ca_days: u32, now: SystemTime) -> Result<(), Failure> {
    let (ca_pem, ca_key) = paths(dir, "ca");
    let (pem, key_path) = paths(dir, "coordinator");
    if ca_pem.exists() && ca_key.exists() {
        return Err(Failure::usage(format_args!(
            "there is already a CA in {}, which is kept",
            dir.display()
        ))
        .help(format_args!(
            "for a new certificate of the coordinator: nn certs coordinator --replace{}; for a second CA: \
                 nn certs init --dir NEW; to discard this CA and all its certificates, remove that folder",
            next::dir_flag(dir)
        )));
    }
    if let Some(path) = [&ca_pem, &ca_key, &pem, &key_path].into_iter().find(|path| path.exists()) {
        return Err(exists(path).help("give another folder with --dir, or move that file away"));
    }
    let hosts = hosts_of_this_machine(hosts)?;
    let ca = Authority::new(ca_days, now)?;
    let key = new_key()?;
    let signed = ca.sign(Holder::Coordinator { hosts: &hosts }, &key, days, now)?;

    let folder = Folder::create(dir)?;
    let mut staged = Staged::default();
    // The CA's key comes first, so that of two concurrent commands the second one fails here.
    staged.add(ca_key.clone(), &ca.key().serialize_pem(), Access::Secret, Existing::Keep)?;
    staged.add(ca_pem.clone(), ca.pem(), Access::Public, Existing::Keep)?;
    staged.add(key_path.clone(), &key.serialize_pem(), Access::Secret, Existing::Keep)?;
    staged.add(pem.clone(), &signed.pem, Access::Public, Existing::Keep)?;
    staged.commit()?;
    folder.keep();

    let mut text = next::files(&[
        (&ca_pem, format!("the CA's certificate, valid until {}", utc_date(ca.ends()))),
        (&ca_key, "its secret key, for signing: never copy it to another machine".to_owned()),
        (&pem, format!("the coordinator's certificate, {}", until(&signed))),
        (&key_path, "its key".to_owned()),
    ]);
    text += &next::names(&hosts);
    text += &next::coordinator(dir);
    text +=
        &format!("\nFor each worker, on this machine:\n\n  nn certs worker NAME{}\n", next::dir_flag(dir));
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
    // If this CA has no coordinator's certificate, the user has to fill in the host.
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
            "Unlike the previous certificate, it is not valid for {}; add missing hosts with --host.\n",
            gone.join(", ")
        );
    }
    text += &next::coordinator(dir);
    write_stdout(text)
}

/// Signs a certificate, and writes it and its key. An existing key is kept, so that a replacement changes a single file and
/// the certificate always matches the key.
fn issue(
    ca: &Authority,
    holder: Holder<'_>,
    (pem, key_path): (&Path, &Path),
    days: u32,
    replace: bool,
    now: SystemTime,
) -> Result<Signed, Failure> {
    if !replace && let Some(path) = [pem, key_path].into_iter().find(|path| path.exists()) {
        return Err(exists(path).help(
            "add --replace for a new certificate with the same key; for a new key, remove the old one first",
        ));
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
    format!("valid until {}{why}", utc_date(signed.ends))
}

fn token(file: &Path) -> Result<(), Failure> {
    if file.exists() {
        return Err(exists(file)
            .help("give another file, or remove that one; workers with the old token will then be refused"));
    }
    let token = random_token()?;
    let mut staged = Staged::default();
    staged.add(file.to_owned(), &format!("{token}\n"), Access::Secret, Existing::Keep)?;
    staged.commit()?;
    write_stdout(next::files(&[(file, "a token: whoever has it can join".to_owned())]) + &next::token(file))
}
