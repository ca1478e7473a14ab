//! `nn certs`: its certificates are tried in real handshakes, with the TLS library that checks them in a cluster.

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::{Place, Ran};
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
    crypto::ring::default_provider,
};

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(place: &Place, name: &str) -> Identity {
    let path = |end: &str| place.at(format!("{name}.{end}"));
    let certificate = CertificateDer::from_pem_file(path("pem")).unwrap();
    (vec![certificate], PrivateKeyDer::from_pem_file(path("key")).unwrap())
}

fn roots(place: &Place, ca: &str) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(place.at(ca)).unwrap()).unwrap();
    Arc::new(roots)
}

/// The two ends of a handshake. `server` and `client` name files, without their extensions.
#[derive(Clone, Copy)]
struct Parties<'a> {
    server: &'a str,
    client: &'a str,
    /// The CA that the client trusts, and the one that the server trusts.
    ca: [&'a str; 2],
    host: &'a str,
}

const HONEST: Parties<'static> = Parties {
    server: "certs/coordinator",
    client: "certs/w1",
    ca: ["certs/ca.pem", "certs/ca.pem"],
    host: "localhost",
};

/// A mutual TLS handshake in memory. The error is that of the first end to object.
fn handshake(place: &Place, parties: Parties<'_>) -> Result<(), rustls::Error> {
    let provider = Arc::new(default_provider());
    let (chain, key) = identity(place, parties.server);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(place, parties.ca[1]), provider.clone());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, key)?;
    let (chain, key) = identity(place, parties.client);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(place, parties.ca[0]), provider.clone());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_webpki_verifier(verifier.build().unwrap())
        .with_client_auth_cert(chain, key)?;
    let host = ServerName::try_from(parties.host.to_owned()).unwrap();
    let mut server = ServerConnection::new(Arc::new(server))?;
    let mut client = ClientConnection::new(Arc::new(client), host)?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut unread = wire.as_slice();
        while !unread.is_empty() {
            server.read_tls(&mut unread).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut unread = wire.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(())
}

#[track_caller]
fn fails(place: &Place, parties: Parties<'_>, part: &str) {
    let error = format!("{:?}", handshake(place, parties).expect_err("the handshake succeeded"));
    assert!(error.contains(part), "{error}");
}

/// A folder with a CA, a coordinator and the worker `w1`.
fn made() -> Place {
    let place = Place::new();
    place.nn("certs init --host box.lan --host 192.0.2.7").ok();
    place.nn("certs worker w1").ok();
    place
}

#[test]
fn two_commands_make_mutual_tls() {
    let place = made();
    let names = ["localhost", "127.0.0.1", "::1", "box.lan", "BOX.lan", "192.0.2.7"];
    for host in names {
        handshake(&place, Parties { host, ..HONEST }).unwrap_or_else(|error| panic!("{host}: {error}"));
    }
    // The machine's own addresses, which other machines dial.
    for interface in if_addrs::get_if_addrs().unwrap() {
        let address = interface.ip();
        if !matches!(address, std::net::IpAddr::V6(v6) if v6.is_unicast_link_local()) {
            handshake(&place, Parties { host: &address.to_string(), ..HONEST })
                .unwrap_or_else(|error| panic!("{address}: {error}"));
        }
    }
    for host in ["box.wan", "192.0.2.8", "w1"] {
        fails(&place, Parties { host, ..HONEST }, "NotValidForName");
    }
}

#[test]
fn a_certificate_is_good_for_its_own_role_and_ca_only() {
    let place = made();
    place.nn("certs init --dir other").ok();
    place.nn("certs worker w1 --dir other").ok();
    // A worker's stolen certificate cannot pass for a coordinator's, nor the coordinator's for a worker's.
    fails(&place, Parties { server: "certs/w1", ..HONEST }, "InvalidPurpose");
    fails(&place, Parties { client: "certs/coordinator", ..HONEST }, "InvalidPurpose");
    // The CA's own certificate identifies neither.
    fails(&place, Parties { server: "certs/ca", ..HONEST }, "CaUsedAsEndEntity");
    // Another CA is not trusted, although its worker has the same name.
    fails(&place, Parties { client: "other/w1", ..HONEST }, "UnknownIssuer");
    fails(&place, Parties { server: "other/coordinator", ..HONEST }, "UnknownIssuer");
    fails(&place, Parties { ca: ["other/ca.pem", "certs/ca.pem"], ..HONEST }, "UnknownIssuer");
}

/// Does nothing if `openssl` is not installed.
#[test]
fn openssl_agrees_about_the_certificates() {
    let place = made();
    if std::process::Command::new("openssl").arg("version").output().is_err() {
        return;
    }
    let verify = |purpose: &str, file: &str| {
        let command = format!("openssl verify -x509_strict -purpose {purpose} -CAfile certs/ca.pem {file}");
        place.shell(&command).output().unwrap().status.success()
    };
    assert!(verify("sslserver", "certs/coordinator.pem"));
    assert!(verify("sslclient", "certs/w1.pem"));
    assert!(!verify("sslserver", "certs/w1.pem"));
    assert!(!verify("sslclient", "certs/coordinator.pem"));
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_secrets() {
    let place = Place::new();
    let script = "umask 000; $NN certs init && $NN certs worker w1 && $NN certs token token";
    Ran::from(place.shell(script).output().unwrap()).ok();
    assert_eq!(mode(&place.at("certs")), 0o700);
    for file in ["certs/ca.key", "certs/coordinator.key", "certs/w1.key", "token"] {
        assert_eq!(mode(&place.at(file)), 0o600, "{file}");
    }
    place.no_halves();
}

#[test]
fn nothing_is_overwritten_without_replace() {
    let place = made();
    let before: Vec<Vec<u8>> = place.files().iter().map(|name| fs::read(place.at(name)).unwrap()).collect();
    place
        .nn("certs init")
        .refused(2, &["a CA in certs", "is kept", "nn certs coordinator --replace", "--dir"]);
    place.nn("certs worker w1").refused(2, &["w1.pem already exists", "--replace"]);
    place.nn("certs coordinator").refused(2, &["coordinator.pem already exists", "--replace"]);
    fs::create_dir(place.at("half")).unwrap();
    fs::copy(place.at("certs/ca.key"), place.at("half/ca.key")).unwrap();
    place.nn("certs init --dir half").refused(2, &["ca.key already exists", "--dir"]);
    fs::remove_dir_all(place.at("half")).unwrap();
    let after: Vec<Vec<u8>> = place.files().iter().map(|name| fs::read(place.at(name)).unwrap()).collect();
    assert!(before == after, "{:?}", place.files());
}

#[test]
fn replace_renews_a_certificate_and_keeps_its_key() {
    let place = made();
    let read = |name: &str| fs::read(place.at(name)).unwrap();
    let key = read("certs/coordinator.key");
    let ran = place.nn("certs coordinator --host new.lan --replace").ok();
    assert!(ran.stdout.contains("it is not valid for box.lan, 192.0.2.7"), "{}", ran.stdout);
    assert!(key == read("certs/coordinator.key"));
    handshake(&place, Parties { host: "new.lan", ..HONEST }).unwrap();
    fails(&place, Parties { host: "box.lan", ..HONEST }, "NotValidForName");
    // If the key is missing, a new one is made with the certificate.
    fs::remove_file(place.at("certs/w1.key")).unwrap();
    place.nn("certs worker w1").refused(2, &["w1.pem already exists"]);
    place.nn("certs worker w1 --replace").ok();
    handshake(&place, HONEST).unwrap();
    place.no_halves();
}

#[test]
fn certificates_do_not_outlive_their_ca() {
    let place = Place::new();
    place.nn("certs init --ca-days 30").ok();
    let ran = place.nn("certs worker w1 --days 90").ok();
    assert!(ran.stdout.contains("as long as the CA"), "{}", ran.stdout);
    place.nn("certs worker w2 --days 7").ok();
    let shown =
        place.nn("certs show certs/ca.pem certs/coordinator.pem certs/w1.pem certs/w2.pem").ok().stdout;
    let left: Vec<&str> = shown
        .lines()
        .filter(|line| line.contains("  valid "))
        .filter_map(|line| line.rsplit_once(": "))
        .map(|(_, left)| left)
        .collect();
    assert_eq!(left, ["29 days left", "29 days left", "29 days left", "6 days left"], "{shown}");
    handshake(&place, HONEST).unwrap();
    for wrong in ["0", "-1", "36526", "x"] {
        place.nn(&format!("certs worker w3 --days {wrong}")).refused(2, &["--days"]);
    }
}

#[test]
fn each_command_shows_the_next_one() {
    let place = Place::new();
    let init = place.nn("certs init --host box.lan").ok().stdout;
    for part in [
        "nn-coord --listen 0.0.0.0:7654 --tls-cert certs/coordinator.pem --tls-key certs/coordinator.key",
        "--tls-ca certs/ca.pem --require-client-cert",
        "nn certs worker NAME\n",
        "as box.lan,",
    ] {
        assert!(init.contains(part), "{part} is not in {init}");
    }
    let worker = place.nn("certs worker w1").ok().stdout;
    for part in [
        "scp certs/ca.pem certs/w1.pem certs/w1.key ",
        "nn-worker --coordinator https://box.lan:7654 --tls-ca ca.pem",
        "--tls-cert w1.pem --tls-key w1.key",
    ] {
        assert!(worker.contains(part), "{part} is not in {worker}");
    }
    let token = place.nn("certs token secret").ok().stdout;
    assert!(token.contains("nn-coord --listen 0.0.0.0:7654 --token-file secret"), "{token}");
    assert!(token.contains("--token-file secret\n"), "{token}");
    let secret = fs::read_to_string(place.at("secret")).unwrap();
    assert!(secret.trim().len() == 64 && !token.contains(secret.trim()));
    place.nn("certs token secret").refused(2, &["secret already exists"]);
    place.nn("certs token another").ok();
    assert_ne!(fs::read_to_string(place.at("another")).unwrap(), secret);
}

/// Containers run the same command at every start.
#[test]
fn keep_accepts_files_that_already_exist() {
    let place = Place::new();
    let kept = |command: &str| {
        let files = || place.files().into_iter().map(|name| (fs::read(place.at(&name)).unwrap(), name));
        let first = place.nn(&format!("{command} --keep")).ok().stdout;
        assert!(!first.contains("already exists and is kept"), "{first}");
        let before: Vec<_> = files().collect();
        let again = place.nn(&format!("{command} --keep")).ok().stdout;
        assert!(again.contains("already exists and is kept"), "{again}");
        assert_eq!(files().collect::<Vec<_>>(), before);
    };
    ["certs token third", "certs init --dir kept", "certs worker w1 --dir kept"].into_iter().for_each(kept);
    // If only some of the files exist, something is wrong.
    fs::remove_file(place.at("kept/coordinator.key")).unwrap();
    fs::remove_file(place.at("kept/w1.key")).unwrap();
    place.nn("certs init --dir kept --keep").refused(2, &["kept"]);
    place.nn("certs worker w1 --dir kept --keep").refused(2, &["w1.pem already exists"]);
    place.nn("certs worker w1 --dir kept --keep --replace").refused(2, &["cannot be used with"]);
}

#[test]
fn show_describes_certificates_and_refuses_other_files() {
    let place = made();
    let shown = place.nn("certs show certs/ca.pem certs/coordinator.pem certs/w1.pem").ok().stdout;
    for part in [
        "purpose    a CA: signs the certificates of others, but no further CAs",
        "signed by  itself",
        "subject    CN=nn coordinator",
        "purpose    a server: a coordinator\n",
        "hosts      box.lan, 192.0.2.7, ",
        "subject    CN=w1\n",
        "purpose    a client: a worker",
        "824 days left",
        "key        EC, 256 bits",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    let ca = CertificateDer::from_pem_file(place.at("certs/ca.pem")).unwrap();
    place.file("ca.der", &ca);
    let der = place.nn("certs show ca.der").ok().stdout;
    let pem = place.nn("certs show certs/ca.pem").ok().stdout;
    assert_eq!(der.replace("ca.der", "certs/ca.pem"), pem);

    place.nn("certs show certs/w1.key").refused(3, &["w1.key", "no certificate", "private key"]);
    place.nn("certs show nowhere.pem").refused(3, &["nowhere.pem"]);
    place.file("empty.pem", "");
    place.nn("certs show empty.pem").refused(3, &["empty.pem", "no certificate"]);
    place.file("cut.der", &ca[..ca.len() / 2]);
    place.nn("certs show cut.der").refused(3, &["cut.der", "damaged"]);
    let text = fs::read_to_string(place.at("certs/ca.pem")).unwrap();
    place.file("cut.pem", &text[..text.len() / 2]);
    place.nn("certs show cut.pem").refused(3, &["cut.pem", "damaged"]);
    let mut wrong = ca.to_vec();
    wrong.push(0);
    place.file("more.der", wrong);
    place.nn("certs show more.der").refused(3, &["more.der", "damaged"]);
}

#[test]
fn a_ca_that_cannot_sign_is_refused() {
    let place = made();
    place.nn("certs worker w2 --dir nowhere").refused(2, &["nowhere/ca.pem", "nn certs init"]);
    place.nn("certs init --dir other").ok();
    fs::copy(place.at("other/ca.key"), place.at("certs/ca.key")).unwrap();
    place.nn("certs worker w2").refused(3, &["do not belong together"]);
    fs::copy(place.at("certs/w1.pem"), place.at("other/ca.pem")).unwrap();
    place.nn("certs worker w2 --dir other").refused(3, &["not a CA's certificate", "CN=w1"]);
    fs::write(place.at("certs/ca.key"), "secret nonsense").unwrap();
    let ran = place.nn("certs worker w2");
    ran.refused(3, &["certs/ca.key cannot be used"]);
    assert!(!ran.stderr.contains("nonsense"), "{}", ran.stderr);
    fs::remove_file(place.at("certs/ca.key")).unwrap();
    place.nn("certs worker w2").refused(2, &["no certs/ca.key", "on the machine that has the CA"]);
    assert!(!place.at("certs/w2.key").exists() && !place.at("certs/w2.pem").exists());
}

#[test]
fn names_cannot_leave_the_folder() {
    let place = made();
    let before = place.files();
    for name in ["../w", "a/b", ".hidden", "ca", "Coordinator"] {
        place.nn(&format!("certs worker {name}")).refused(2, &["cannot be a worker's name"]);
    }
    for host in ["https://box", "box:7654", "0.0.0.0", "*"] {
        place.nn(&format!("certs init --dir other --host {host}")).refused(2, &["--host", host]);
    }
    assert_eq!(place.files(), before);
}

#[cfg(unix)]
#[test]
fn a_failed_write_leaves_nothing_behind() {
    let place = Place::new();
    // No file may have a single byte, as on a full disk.
    let limited = |arguments: &str| {
        Ran::from(place.shell(&format!("trap '' XFSZ; ulimit -f 0; exec $NN {arguments}")).output().unwrap())
    };
    limited("certs init").refused(1, &["cannot write certs/ca.key"]);
    limited("certs token t").refused(1, &["cannot write t"]);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{:?}", place.files());

    place.nn("certs init").ok();
    let (before, old) = (place.files(), fs::read(place.at("certs/coordinator.pem")).unwrap());
    limited("certs worker w1").refused(1, &["cannot write certs/w1.key"]);
    limited("certs coordinator --replace").refused(1, &["cannot write certs/coordinator.pem"]);
    assert_eq!(place.files(), before);
    assert!(fs::read(place.at("certs/coordinator.pem")).unwrap() == old);

    place.file("file", "");
    place.nn("certs init --dir file/certs").refused(1, &["cannot create the folder file/certs", "--dir"]);
    place.nn("certs token nowhere/t").refused(1, &["cannot write nowhere/t"]);
}

/// The files in the folder must all come from the same process.
#[test]
fn only_one_of_several_concurrent_inits_makes_the_ca() {
    let place = Place::new();
    for round in 0..4 {
        let dir = format!("certs{round}");
        let start = || {
            place
                .command(["certs", "init", "--dir", &dir])
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap()
        };
        let mut running = [start(), start(), start()];
        let well = running.iter_mut().filter_map(|child| child.wait().ok()).filter(|status| status.success());
        assert_eq!(well.count(), 1);
        place.nn(&format!("certs worker w1 --dir {dir}")).ok();
        let (server, client, ca) =
            (format!("{dir}/coordinator"), format!("{dir}/w1"), format!("{dir}/ca.pem"));
        handshake(&place, Parties { server: &server, client: &client, ca: [&ca, &ca], host: "localhost" })
            .unwrap();
    }
    place.no_halves();
}
