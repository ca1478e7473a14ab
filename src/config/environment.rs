//! Options in environment variables: `NN_BATCH_SIZE` for `--batch-size`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::option::Entry;
use super::origins::{Origin, Origins, PREFIX, variable};
use super::table::{Given, Options};
use crate::failure::Failure;

/// Variables of the programs that are not options of all of them. A worker that the coordinator starts inherits these.
const SHARED: [&str; 3] = ["NN_CACHE_DIR", "NN_ISA", "NN_MIRROR"];

/// The variables that may hold options: those that begin with `NN_` and are not empty.
///
/// An empty one counts as not set, because docker-compose passes empty ones on for what its user has left out.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// The variables of this process.
    pub fn of_process() -> Self {
        Self::new(std::env::vars_os())
    }

    fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let ours = variables.into_iter().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
            (!value.is_empty()).then_some((name, value))
        });
        Self(ours.collect())
    }

    fn get(&self, key: &str) -> Option<&OsStr> {
        self.0.get(&variable(key)).map(OsString::as_os_str)
    }

    /// Whether the option with that key has a variable that is set.
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The options that variables give.
    fn read<O: Options>(&self) -> Result<O, Failure> {
        let mut options = O::default();
        for entry in O::entries() {
            let Some(text) = self.get(entry.key) else { continue };
            if let Some(Err(wrong)) = options.set(entry.key, Given::Variable(text)) {
                return Err(wrong.about(&variable(entry.key)));
            }
        }
        Ok(options)
    }

    /// The options as flags, variables and a file give them together: a flag overrides a variable, and both override
    /// the file.
    ///
    /// # Errors
    /// Exit code 2, naming the variable whose value cannot be read.
    pub fn complete<O: Options>(
        &self,
        flags: O,
        file: Option<(O, Origins)>,
    ) -> Result<(O, Origins), Failure> {
        let (file, mut origins) = file.unwrap_or_default();
        let variables: O = self.read()?;
        origins.note(variables.given(), Origin::Variable);
        origins.note(flags.given(), Origin::Flag);
        Ok((flags.or(variables).or(file), origins))
    }

    /// A warning for every variable that is almost the name of one of a program's options. Variables of the other
    /// programs and of whatever else runs here are left alone.
    pub fn misspelt(&self, entries: &[Entry]) -> Vec<String> {
        let known: Vec<String> = entries.iter().map(|entry| variable(entry.key)).collect();
        let unknown = self.0.keys().filter(|name| !known.contains(name) && !SHARED.contains(&name.as_str()));
        unknown
            .filter_map(|name| {
                let near = known.iter().find(|known| is_near(name, known))?;
                Some(format!("{name} is not an option: did you mean {near}?"))
            })
            .collect()
    }
}

/// Whether two names differ by a slip or two of the fingers; in a short name, by one.
fn is_near(name: &str, known: &str) -> bool {
    let slips = if known.len() - PREFIX.len() < 8 { 1 } else { 2 };
    strsim::osa_distance(name, known) <= slips
}

/// The names of the variables that a child process must not inherit: every option is given to it by a flag.
pub fn not_for_children() -> impl Iterator<Item = OsString> {
    std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| name.to_str().is_some_and(|name| name.starts_with(PREFIX) && !SHARED.contains(&name)))
}

#[cfg(test)]
mod tests {
    use super::super::options::TrainOptions;
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::new(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn variables_are_read_as_flags_are() {
        let set = environment(&[
            ("NN_BATCH_SIZE", "20"),
            ("NN_HIDDEN", "128,64"),
            ("NN_LEARNING_RATE", "1e-3"),
            ("NN_RESUME", "1"),
            ("NN_QUIET", "false"),
            ("NN_COST", "cross-entropy"),
            ("NN_EPOCHS", ""),
            ("NN_LISTEN", "not for training"),
            ("EPOCHS", "7"),
        ]);
        let options: TrainOptions = set.read().unwrap();
        assert_eq!(options.learn.batch_size, Some(20));
        assert_eq!(options.learn.hidden.map(|widths| widths.0), Some(vec![128, 64]));
        assert_eq!(options.learn.learning_rate, Some(0.001));
        assert_eq!((options.resume, options.quiet), (Some(true), Some(false)));
        assert_eq!(options.learn.cost, Some(nn_core::Cost::CrossEntropy));
        assert_eq!(options.learn.epochs, None);
    }

    #[test]
    fn a_bad_value_names_its_variable() {
        for (name, value, says) in [
            ("NN_EPOCHS", "many", "NN_EPOCHS must be a whole number"),
            ("NN_EPOCHS", "-3", "NN_EPOCHS must be a whole number that is not negative, not \"-3\""),
            ("NN_COST", "mes", "NN_COST must be \"mse\", \"cross-entropy\" or \"huber\""),
            ("NN_QUIET", "perhaps", "NN_QUIET must be true or false"),
            ("NN_HIDDEN", "3,,4", "NN_HIDDEN must be widths such as 30 or 128,64, or none"),
        ] {
            let failure = environment(&[(name, value)]).read::<TrainOptions>().unwrap_err();
            assert_eq!(failure.kind().exit_code(), 2);
            assert!(failure.message().starts_with(says), "{failure}");
        }
    }

    #[test]
    fn only_names_that_are_nearly_options_are_warned_about() {
        let set = environment(&[
            ("NN_EPOCH", "3"),
            ("NN_BATCHSIZE", "3"),
            ("NN_LERNING_RATE", "3"),
            ("NN_EPOCHS", "3"),
            ("NN_LISTEN", "x"),
            ("NN_COORD_OPTIONS", "x"),
            ("NN_COORD_PORT", "tcp://10.0.0.1:7654"),
            ("NN_RUN", "x"),
            ("NN_BIN", "x"),
            ("NN_ISA", "x"),
            ("NN_CACHE_DIR", "x"),
            ("NN_SIM_SEEDS", "x"),
            ("NN_WITHOUT_DOCKER", "x"),
        ]);
        let warnings = set.misspelt(&TrainOptions::entries());
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(warnings[1].contains("NN_EPOCH is not an option: did you mean NN_EPOCHS?"), "{warnings:?}");
    }
}
