//! Words for a command that a user can paste into a shell.

use std::path::Path;

/// A word for a shell; `None` if it cannot be shown, because it would steer the terminal.
fn word(text: &str) -> Option<String> {
    if text.chars().any(char::is_control) {
        return None;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-,:=@%+".contains(c);
    // `cmd.exe` and PowerShell take backslashes as they are, and double quotes around spaces.
    let plain = |c: char| plain(c) || (cfg!(windows) && c == '\\');
    Some(if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else if cfg!(windows) {
        format!("\"{text}\"")
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    })
}

/// A flag with its value. A value that begins with a dash would be taken for a flag if it stood alone.
pub(crate) fn shell_flag(key: &str, value: &str) -> Option<String> {
    let separator = if value.starts_with('-') { '=' } else { ' ' };
    Some(format!("--{key}{separator}{}", word(value)?))
}

/// A flag with a path; `None` if the path is not UTF-8 and so cannot be shown.
pub(crate) fn shell_path_flag(key: &str, path: &Path) -> Option<String> {
    shell_flag(key, path.to_str()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_stay_plain_and_others_are_quoted() {
        for (value, want) in [("runs/digits-2", "--out runs/digits-2"), ("-x", "--out=-x")] {
            assert_eq!(shell_flag("out", value).as_deref(), Some(want));
        }
        assert_eq!(shell_flag("out", "a\nb"), None);
        assert_eq!(shell_flag("out", "a\u{1b}[2J"), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_shell_reads_every_word_as_it_was() {
        for value in
            ["it's", "a b", "$HOME", "`id`", "\"x\"", "", "*", "~", "a\\b", "-a b", "#x", "!1", "é;&|"]
        {
            let flag = shell_flag("k", value).unwrap();
            let script = format!("printf %s\\\\n {flag}");
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            let want =
                if value.starts_with('-') { format!("--k={value}\n") } else { format!("--k\n{value}\n") };
            assert_eq!(String::from_utf8(output.stdout).unwrap(), want, "{value:?}");
        }
    }
}
