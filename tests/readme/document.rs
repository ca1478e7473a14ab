//! Commands in documents: console blocks, inline code, and training options in the files of `deploy/`.

use std::fs;
use std::path::{Path, PathBuf};

/// A command of a console block, split into words as a shell does it.
#[derive(Debug, Clone)]
pub(crate) struct ShellCommand {
    /// The document and the line, for messages.
    pub(crate) at: String,
    /// The command, without redirections and comments; `NAME=value` words come first.
    pub(crate) words: Vec<String>,
}

/// A part of a document below one `##` heading.
#[derive(Debug)]
pub(crate) struct Section {
    /// The document and the heading, for messages.
    pub(crate) at: String,
    /// The prose, without fenced blocks.
    pub(crate) prose: String,
    pub(crate) commands: Vec<ShellCommand>,
}

/// The path of a file of the repository.
pub(crate) fn repository(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file of the repository.
#[track_caller]
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = repository(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The sections of a Markdown file.
pub(crate) fn sections(path: &str) -> Vec<Section> {
    let new = |heading: &str| Section {
        at: format!("{path}, {heading:?}"),
        prose: String::new(),
        commands: vec![],
    };
    let mut sections = vec![new("")];
    let mut fence: Option<String> = None;
    let text = read(path);
    let mut lines = text.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            fence = fence.is_none().then(|| language.to_owned());
            continue;
        }
        if fence.is_none()
            && let Some(heading) = line.strip_prefix("## ")
        {
            sections.push(new(heading));
        }
        let section = sections.last_mut().expect("there is always one");
        match (fence.as_deref(), line.strip_prefix("$ ").or_else(|| line.strip_prefix("# "))) {
            (None, _) => section.prose += &format!("{line}\n"),
            (Some("console"), Some(command)) => {
                let mut command = command.to_owned();
                while command.ends_with('\\') {
                    command.pop();
                    command += lines.next().map_or("", |(line, _)| line);
                }
                let at = format!("{path}:{number}");
                section.commands.extend(split(&command).map(|words| ShellCommand { at: at.clone(), words }));
            }
            _ => {}
        }
    }
    sections
}

/// The commands in the inline code of a section that begin with the name of a program and have arguments.
pub(crate) fn inline_commands(section: &Section) -> Vec<ShellCommand> {
    let spans = section.prose.split('`').skip(1).step_by(2);
    let commands =
        spans.filter(|span| ["nn ", "nn-coord ", "nn-worker "].iter().any(|name| span.starts_with(name)));
    let at = &section.at;
    commands.flat_map(|span| split(span).map(|words| ShellCommand { at: at.clone(), words })).collect()
}

/// The training options in a file that is no Markdown: from `--data` to the end of the line or the quotation, with the
/// lines that a backslash continues.
pub(crate) fn training_options(path: &str) -> Vec<ShellCommand> {
    let text = read(path).replace("\\\n#", "");
    let tails = text.match_indices("--data ").map(|(start, _)| &text[start..]);
    let options = tails.map(|tail| tail.split(['\n', '"', '}']).next().unwrap_or(tail));
    let command = |words| ShellCommand { at: path.to_owned(), words };
    options.flat_map(split).map(command).collect()
}

/// Splits a line into commands and these into words: quotation marks group, `#` begins a comment, `&&` separates commands,
/// and a pipe or a redirection ends one.
fn split(line: &str) -> impl Iterator<Item = Vec<String>> + use<> {
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut quote): (Option<String>, Option<char>) = (None, None);
    for c in line.chars().chain([' ']) {
        match quote {
            Some(mark) if mark == c => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None if c == '#' && word.is_none() => break,
            None => word.get_or_insert_default().push(c),
        }
    }
    let one = |words: &[String]| {
        words.iter().take_while(|word| !["|", ">", "<"].contains(&word.as_str())).cloned().collect::<Vec<_>>()
    };
    let commands: Vec<_> = words.split(|word| word == "&&").map(one).collect();
    commands.into_iter().filter(|words| !words.is_empty())
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_line_is_split_as_a_shell_does_it() {
        let commands: Vec<Vec<String>> =
            split(r#"A="b c" nn train --data 'my data.csv' > file && nn eval # and so on"#).collect();
        assert_eq!(commands, [&["A=b c", "nn", "train", "--data", "my data.csv"][..], &["nn", "eval"]]);
    }
}
