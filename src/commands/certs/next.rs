//! The final output of `nn certs`: the new files, and the next command to run on each machine.

use std::path::Path;

use nn_net::DEFAULT_PORT;

use crate::config::Host;

/// A list of the new files with descriptions.
pub(super) fn files(files: &[(&Path, String)]) -> String {
    let width = files.iter().map(|(path, _)| path.display().to_string().len()).max().unwrap_or(0);
    files.iter().map(|(path, what)| format!("{:<width$}  {what}\n", path.display().to_string())).collect()
}

/// The hosts for which the coordinator's certificate is valid.
pub(super) fn names(hosts: &[Host]) -> String {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    format!("\nWorkers can reach the coordinator as {}; add more with --host NAME_OR_IP.\n", hosts.join(", "))
}

/// The command that starts the coordinator.
pub(super) fn coordinator(dir: &Path) -> String {
    let [pem, key, ca] = ["coordinator.pem", "coordinator.key", "ca.pem"].map(|name| quoted(&dir.join(name)));
    format!(
        "\nOn the coordinator's machine, with any training options:\n\n  \
         nn-coord --listen 0.0.0.0:{DEFAULT_PORT} --tls-cert {pem} --tls-key {key} \\\n    \
         --tls-ca {ca} --require-client-cert\n"
    )
}

/// The files that a worker needs, and the command that starts it. `hosts` are the coordinator's hosts, best first.
pub(super) fn worker(dir: &Path, name: &str, hosts: &[Host]) -> String {
    let [ca, pem, key] = ["ca.pem".to_owned(), format!("{name}.pem"), format!("{name}.key")]
        .map(|name| quoted(&dir.join(name)));
    let host = hosts.iter().find(|host| !host.is_local()).or(hosts.first());
    let host = host.map_or_else(|| "COORDINATOR".to_owned(), ToString::to_string);
    format!(
        "\nCopy these three files to the worker's machine, for example:\n\n  \
         scp {ca} {pem} {key} USER@MACHINE:\n\n\
         On that machine:\n\n  \
         nn-worker --coordinator https://{host}:{DEFAULT_PORT} --tls-ca ca.pem \\\n    \
         --tls-cert {name}.pem --tls-key {name}.key\n\n\
         If that fails, run nn doctor with the same flags to find out why.\n"
    )
}

/// The commands that use a token.
pub(super) fn token(file: &Path) -> String {
    let path = quoted(file);
    let copied = file.file_name().map_or_else(|| path.clone(), |name| quoted(Path::new(name)));
    format!(
        "\nOn the coordinator's machine, with any training options:\n\n  \
         nn-coord --listen 0.0.0.0:{DEFAULT_PORT} --token-file {path}\n\n\
         Copy the file to each worker's machine. On that machine:\n\n  \
         nn-worker --coordinator COORDINATOR --token-file {copied}\n\n\
         Without TLS (see nn certs init), the token can be read from network traffic.\n"
    )
}

/// The flag that gives the folder, unless it is the default.
pub(super) fn dir_flag(dir: &Path) -> String {
    if dir == Path::new("certs") { String::new() } else { format!(" --dir {}", quoted(dir)) }
}

/// A path quoted for a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+:@%=,".contains(c)) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_pasted() {
        let text = worker(Path::new("my certs"), "w1", &[Host::parse("localhost").unwrap()]);
        assert!(text.contains("scp 'my certs/ca.pem' 'my certs/w1.pem' 'my certs/w1.key'"), "{text}");
        assert!(text.contains("--coordinator https://localhost:7654 --tls-ca ca.pem"), "{text}");
        let hosts = ["127.0.0.1", "fd00::1"].map(|host| Host::parse(host).unwrap());
        assert!(worker(Path::new("certs"), "w1", &hosts).contains("https://[fd00::1]:7654 "));
        assert!(worker(Path::new("certs"), "w1", &[]).contains("https://COORDINATOR:7654 "));
        assert_eq!(quoted(Path::new("it's")), r"'it'\''s'");
        assert_eq!(dir_flag(Path::new("certs")), "");
        assert_eq!(dir_flag(Path::new("a b")), " --dir 'a b'");
    }
}
