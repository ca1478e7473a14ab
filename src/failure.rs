//! Failures of commands: a message, a remedy and an exit code.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::store::ModelFileError;

/// The category of a failure, which decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The work itself failed, for example because of a full disk or a diverged run. Exit code 1.
    Failed,
    /// A flag or the configuration is invalid. Exit code 2.
    Usage,
    /// Data or a model is invalid. Exit code 3.
    Data,
    /// The network or a peer failed. Exit code 4.
    Network,
    /// The command was interrupted before a checkpoint could be written. Exit code 130, as after SIGINT in a shell.
    Interrupted,
    /// The reader of standard output closed it, as in `nn … | head -1`. The reader has what it wanted, so nothing is
    /// printed and the exit code is 0.
    OutputClosed,
}

impl FailureKind {
    /// The exit code of the command-line contract.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Data => 3,
            Self::Network => 4,
            Self::Interrupted => 130,
        }
    }
}

/// The failure of a command.
///
/// ```
/// use nn::failure::Failure;
/// let failure = Failure::data("weights.npz has no array named x").help("name the inputs x and the labels y");
/// assert_eq!(failure.kind().exit_code(), 3);
/// assert_eq!(
///     failure.to_string(),
///     "error: weights.npz has no array named x\nhelp: name the inputs x and the labels y"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    kind: FailureKind,
    message: String,
    help: Option<String>,
}

/// Replaces control characters except line feeds. Messages quote files and peers, whose text must not steer the terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

impl Failure {
    /// A failure of the given kind. The message has neither the prefix `error:` nor a full stop.
    pub fn new(kind: FailureKind, message: impl fmt::Display) -> Self {
        Self { kind, message: plain(&message.to_string()), help: None }
    }

    /// The work failed: exit code 1.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::new(FailureKind::Failed, message)
    }

    /// A flag or the configuration is wrong: exit code 2.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(FailureKind::Usage, message)
    }

    /// The data or the model is wrong: exit code 3.
    pub fn data(message: impl fmt::Display) -> Self {
        Self::new(FailureKind::Data, message)
    }

    /// The network or a peer failed: exit code 4.
    pub fn network(message: impl fmt::Display) -> Self {
        Self::new(FailureKind::Network, message)
    }

    /// Interrupted before a checkpoint could be written: exit code 130.
    pub fn interrupted(message: impl fmt::Display) -> Self {
        Self::new(FailureKind::Interrupted, message)
    }

    /// A failed write to standard output: a closed pipe ends the command quietly, any other error fails it.
    pub fn stdout(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(FailureKind::OutputClosed, "standard output was closed"),
            _ => Self::failed(format_args!("cannot write to standard output: {error}")),
        }
    }

    /// Adds a remedy, which is printed on its own line.
    #[must_use]
    pub fn help(mut self, remedy: impl fmt::Display) -> Self {
        self.help = Some(plain(&remedy.to_string()));
        self
    }

    /// Says where it happened: `place` is put before the message.
    #[must_use]
    pub fn within(mut self, place: &str) -> Self {
        self.message = plain(&format!("{place}: {}", self.message));
        self
    }

    /// The category.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The message, without the prefix `error:`.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The remedy, if any.
    pub fn remedy(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Prints the failure on standard error and returns the exit code.
    pub fn report(&self) -> ExitCode {
        if self.kind != FailureKind::OutputClosed {
            // If standard error is closed, the exit code still reports the failure.
            let _ = writeln!(io::stderr(), "{self}");
        }
        ExitCode::from(self.kind.exit_code())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.help {
            Some(help) => write!(f, "\nhelp: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<nn_data::DataError> for Failure {
    fn from(error: nn_data::DataError) -> Self {
        let kind = match error.kind() {
            nn_data::Kind::Usage => FailureKind::Usage,
            nn_data::Kind::Data => FailureKind::Data,
            nn_data::Kind::Network => FailureKind::Network,
        };
        Self::new(kind, error)
    }
}

impl From<ModelFileError> for Failure {
    fn from(error: ModelFileError) -> Self {
        let remedy = match &error {
            ModelFileError::Stateless { .. } => "give one of the files in <out>/checkpoints",
            ModelFileError::Version { .. } => "use the version of nn that wrote it, or train again",
            ModelFileError::Unreadable { .. } | ModelFileError::Folder { .. } => {
                "`nn train` writes <out>/model.safetensors"
            }
            ModelFileError::Foreign { .. } => {
                "`nn import` makes a model of an ONNX file, or of a state dict of PyTorch"
            }
            _ => "train again, or use another copy of the file; `nn import` makes a model of an ONNX file",
        };
        Self::data(error).help(remedy)
    }
}

/// Writes `text` to standard output without panicking on a closed pipe, as `println!` would.
///
/// # Errors
/// [`Failure::stdout`].
pub fn write_stdout(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_ref()).and_then(|()| stdout.flush()).map_err(|error| Failure::stdout(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let failure = Failure::data("x\u{1b}[2J\u{7f} is bad\nand y too").help("remove \r it");
        let text = failure.to_string();
        assert!(text.contains("x\u{fffd}[2J\u{fffd} is bad\nand y too"), "{text:?}");
        assert!(!text.contains(['\u{1b}', '\u{7f}', '\r']), "{text:?}");
    }

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        let codes = [
            (Failure::failed("x"), 1),
            (Failure::usage("x"), 2),
            (Failure::data("x"), 3),
            (Failure::network("x"), 4),
            (Failure::interrupted("x"), 130),
        ];
        for (failure, code) in codes {
            assert_eq!(failure.kind().exit_code(), code, "{failure:?}");
        }
    }

    #[test]
    fn data_errors_keep_their_category() {
        let unknown = "mnits".parse::<nn_data::Source>().unwrap_err();
        let failure = Failure::from(unknown);
        assert_eq!(failure.kind().exit_code(), 2);
        assert!(failure.message().contains("mnits"), "{failure}");
    }

    #[test]
    fn a_closed_pipe_ends_quietly_but_a_full_disk_fails() {
        let closed = Failure::stdout(&io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(closed.kind().exit_code(), 0);
        let full = Failure::stdout(&io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full.kind().exit_code(), 1);
        assert!(full.message().contains("standard output"), "{full}");
    }
}
