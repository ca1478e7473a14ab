//! The tables of a sweep's file, and the runs that they describe.

use toml::de::{DeTable, DeValue};

use super::values::{Source, read_random};
use super::{SweepOptions, SweepRun};
use crate::config::file::line_of;
use crate::config::limits::MAX_RUNS;
use crate::config::lists::Fold;
use crate::config::options::TrainOptions;
use crate::config::origins::{Origin, Origins};
use crate::config::table::{Given, Options as _};
use crate::config::value::{did_you_mean, toml_whole};
use crate::failure::Failure;

/// The tables of a sweep's file that are no options of a run.
pub(super) const TABLES: [&str; 4] = ["sweep", "grid", "random", "halving"];

/// Successive halving: all configurations train for some epochs, the best of them go on for more, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Halving {
    /// The epochs before the first choice, at least 1.
    pub(crate) min_epochs: u64,
    /// One of so many configurations goes on, for so many times the epochs; at least 2.
    pub(crate) factor: u64,
}

/// The tables of a sweep's file.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    grid: Vec<Axis>,
    random: Vec<Axis>,
    /// The number of draws, and their seed.
    draws: (u64, u64),
    pub(super) halving: Option<Halving>,
    own: SweepOptions,
    lines: Vec<(String, usize)>,
}

/// An option with the values that it takes.
#[derive(Debug)]
struct Axis {
    key: String,
    line: usize,
    values: Source,
}

/// A file's text, for errors and for the text of values.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    name: &'a str,
    text: &'a str,
}

impl Text<'_> {
    /// The line of a byte.
    pub(super) fn line(&self, at: usize) -> usize {
        line_of(self.text.as_bytes(), at)
    }

    /// The text of a value.
    pub(super) fn of(&self, value: &toml::Spanned<DeValue<'_>>) -> String {
        self.text.get(value.span()).unwrap_or_default().to_owned()
    }

    /// A failure at a byte of the file.
    pub(super) fn wrong(&self, at: usize, says: impl std::fmt::Display) -> Failure {
        Failure::usage(format_args!("{}:{}: {says}", self.name, self.line(at)))
    }
}

impl Drawn {
    /// Reads the tables of a file. That the rest of it is right is checked elsewhere.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, Failure> {
        let mut drawn = Self::default();
        // A file that is not TOML is reported where the options are read.
        let Ok(file) = DeTable::parse(text) else { return Ok(drawn) };
        let text = Text { name, text };
        for (key, value) in file.get_ref() {
            let (Some(table), at) = (value.get_ref().as_table(), key.span().start) else { continue };
            match key.get_ref().as_ref() {
                "grid" => drawn.grid = grid(text, at, table)?,
                "random" => drawn.read_random(text, at, table)?,
                "halving" => drawn.halving = Some(halving(text, at, table)?),
                "sweep" => drawn.read_own(text, table)?,
                _ => {}
            }
        }
        if let Some(twice) = drawn.random.iter().find(|axis| drawn.grid.iter().any(|o| o.key == axis.key)) {
            return Err(Failure::usage(format_args!(
                "{name}:{}: {} is in [grid] and in [random]",
                twice.line, twice.key
            ))
            .help("leave it in one of them"));
        }
        Ok(drawn)
    }

    fn read_random(&mut self, text: Text<'_>, at: usize, table: &DeTable<'_>) -> Result<(), Failure> {
        let mut draws = None;
        for (key, value) in in_order(table) {
            let (name, place) = (key.get_ref().as_ref(), key.span().start);
            let whole = || {
                toml_whole(value.get_ref())
                    .ok_or_else(|| text.wrong(place, format_args!("{name} must be a whole number")))
            };
            match name {
                "runs" => draws = Some(whole()?),
                "seed" => self.draws.1 = whole()?,
                _ => {
                    sweepable(text, place, name)?;
                    let values = read_random(text, name, place, value)?;
                    self.random.push(Axis { key: name.to_owned(), line: text.line(place), values });
                }
            }
        }
        self.draws.0 = match draws {
            Some(draws) if (1..=MAX_RUNS).contains(&draws) => draws,
            Some(draws) => {
                let says = format!("runs must be at least 1 and at most {MAX_RUNS}, not {draws}");
                return Err(text.wrong(at, says));
            }
            None => return Err(text.wrong(at, "[random] does not say how many runs").help("add runs = 20")),
        };
        if self.random.is_empty() {
            return Err(text
                .wrong(at, "[random] has no option to draw")
                .help("add one, such as learning-rate = { min = 1e-3, max = 1.0, log = true }"));
        }
        Ok(())
    }

    fn read_own(&mut self, text: Text<'_>, table: &DeTable<'_>) -> Result<(), Failure> {
        for (key, value) in in_order(table) {
            let (name, place) = (key.get_ref().as_ref(), key.span().start);
            match self.own.set(name, Given::Toml(value.get_ref())) {
                None => {
                    let entries = SweepOptions::entries();
                    let near = did_you_mean(name, entries.iter().map(|entry| entry.key));
                    let known: Vec<&str> = entries.iter().map(|entry| entry.key).collect();
                    return Err(text
                        .wrong(place, format_args!("there is no option {name:?} in [sweep]"))
                        .help(near.unwrap_or_else(|| format!("it may have {}", known.join(", ")))));
                }
                Some(Err(wrong)) => {
                    return Err(wrong.about(&format!("{}:{}: {name}", text.name, text.line(place))));
                }
                Some(Ok(())) => self.lines.push((name.to_owned(), text.line(place))),
            }
        }
        Ok(())
    }

    /// The options of the table `[sweep]`, and their lines.
    pub(super) fn own(&self, name: &str) -> Result<(SweepOptions, Origins), Failure> {
        let mut origins = Origins::of_file(name);
        for (key, line) in &self.lines {
            origins.note([key.as_str()], Origin::Line(*line));
        }
        Ok((self.own.clone(), origins))
    }

    /// Whether the file has no values to sweep over.
    pub(super) fn is_empty(&self) -> bool {
        self.grid.is_empty() && self.random.is_empty()
    }

    /// The runs: for each draw every point of the grid, for each of these every fold, and for each fold every seed.
    pub(super) fn runs(
        &self,
        base: &TrainOptions,
        origins: &Origins,
        (seeds, folds): (Option<u64>, Option<usize>),
    ) -> Result<Vec<SweepRun>, Failure> {
        let axes = || self.random.iter().chain(&self.grid);
        for axis in axes() {
            let mut said = origins.of(&axis.key);
            if let (Origin::Default | Origin::Line(_) | Origin::Run(_), "seed", Some(_)) =
                (said, axis.key.as_str(), seeds)
            {
                return Err(Failure::usage("--seeds and a swept option seed contradict each other")
                    .help("leave one of them out"));
            }
            if folds.is_some() && ["fold", "validation-fraction", "validation"].contains(&axis.key.as_str()) {
                return Err(Failure::usage(format_args!(
                    "--folds and a swept option {} contradict each other",
                    axis.key
                ))
                .help("leave one of them out"));
            }
            if let Origin::Line(_) | Origin::Run(_) = said {
                said = Origin::Default;
            }
            if said != Origin::Default {
                return Err(Failure::usage(format_args!(
                    "{} fixes an option that the sweep varies",
                    origins.subject(&axis.key)
                ))
                .help(format_args!("leave it out, or take {} out of the file's table", axis.key)));
            }
        }
        let points: u64 = self.grid.iter().map(|axis| axis.values.len() as u64).fold(1, u64::saturating_mul);
        let draws = if self.random.is_empty() { 1 } else { self.draws.0 };
        let repeats = seeds.unwrap_or(1).saturating_mul(folds.unwrap_or(1) as u64);
        let all = draws.saturating_mul(points).saturating_mul(repeats);
        if all > MAX_RUNS {
            return Err(Failure::usage(format_args!("these are {all} runs; a sweep has at most {MAX_RUNS}"))
                .help("make the lists of [grid] shorter, or draw some runs with [random]"));
        }
        let mut runs = Vec::new();
        for draw in 0..draws {
            for point in 0..points {
                let mut options: Vec<(&Axis, String)> = self
                    .random
                    .iter()
                    .map(|axis| (axis, axis.values.draw(self.draws.1, draw, &axis.key)))
                    .collect();
                // The last option of the grid changes fastest.
                let mut rest = point;
                let mut chosen = Vec::new();
                for axis in self.grid.iter().rev() {
                    let len = axis.values.len() as u64;
                    chosen.push((axis, axis.values.value((rest % len) as usize)));
                    rest /= len;
                }
                options.extend(chosen.into_iter().rev());
                self.repeats(&mut runs, &options, (base, origins), (seeds, folds))?;
            }
        }
        Ok(runs)
    }

    /// The runs of one configuration.
    fn repeats(
        &self,
        runs: &mut Vec<SweepRun>,
        options: &[(&Axis, String)],
        (base, origins): (&TrainOptions, &Origins),
        (seeds, folds): (Option<u64>, Option<usize>),
    ) -> Result<(), Failure> {
        let configuration = runs.last().map_or(0, |last| last.configuration + 1);
        let (mut given, mut origins) = (base.clone(), origins.clone());
        for (axis, value) in options {
            set(&mut given, &axis.key, value)
                .map_err(|wrong| wrong.about(&format!("{}: {}", origins.place(axis.line), axis.key)))?;
            origins.note([axis.key.as_str()], Origin::Line(axis.line));
        }
        let first = given.learn.seed.unwrap_or(nn_engine::Recipe::book().seed);
        let of = folds.unwrap_or(1);
        for fold in 1..=of {
            for more in 0..seeds.unwrap_or(1) {
                let mut given = given.clone();
                let seed = first.wrapping_add(more);
                if seeds.is_some() {
                    given.learn.seed = Some(seed);
                }
                if folds.is_some() {
                    given.format.fold = Some(Fold { fold, of });
                }
                runs.push(SweepRun {
                    configuration,
                    options: options.iter().map(|(axis, value)| (axis.key.clone(), value.clone())).collect(),
                    seed: seeds.map(|_| seed),
                    fold: folds.map(|_| fold),
                    given,
                    origins: origins.clone(),
                    base: None,
                });
            }
        }
        Ok(())
    }
}

/// Sets an option to a value in TOML.
fn set(options: &mut TrainOptions, key: &str, value: &str) -> Result<(), crate::config::value::Wrong> {
    let line = format!("value = {value}");
    let Ok(table) = DeTable::parse(&line) else { return Ok(()) };
    let Some(value) = table.get_ref().get("value") else { return Ok(()) };
    // That the key is an option has been checked.
    options.set(key, Given::Toml(value.get_ref())).unwrap_or(Ok(()))
}

/// The entries of a table in the order of the file.
fn in_order<'a, 'b>(
    table: &'a DeTable<'b>,
) -> Vec<(&'a toml::Spanned<std::borrow::Cow<'b, str>>, &'a toml::Spanned<DeValue<'b>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// Fails unless runs of a sweep may differ in the option.
fn sweepable(text: Text<'_>, at: usize, key: &str) -> Result<(), Failure> {
    let entries = TrainOptions::entries();
    match entries.iter().find(|entry| entry.key == key) {
        None => {
            let near = did_you_mean(key, entries.iter().map(|entry| entry.key));
            let list = || "`nn train --print-config` lists all keys".to_owned();
            Err(text.wrong(at, format_args!("there is no option {key:?}")).help(near.unwrap_or_else(list)))
        }
        Some(entry) if (entry.of_command && key != "max-seconds") || ["threads", "from"].contains(&key) => {
            Err(text
                .wrong(at, format_args!("{key} cannot be swept: it belongs to the whole sweep"))
                .help("give it as a flag of nn sweep"))
        }
        Some(_) => Ok(()),
    }
}

/// The table `[grid]`.
fn grid(text: Text<'_>, at: usize, table: &DeTable<'_>) -> Result<Vec<Axis>, Failure> {
    let mut axes = Vec::new();
    for (key, value) in in_order(table) {
        let (name, place) = (key.get_ref().as_ref(), key.span().start);
        sweepable(text, place, name)?;
        let DeValue::Array(list) = value.get_ref() else {
            return Err(text.wrong(place, format_args!("{name} must be a list of values")).help(
                format_args!(
                    "write {name} = [{}]; what all runs share stands above the tables",
                    text.of(value)
                ),
            ));
        };
        let values = Source::list(text, name, place, list)?;
        axes.push(Axis { key: name.to_owned(), line: text.line(place), values });
    }
    if axes.is_empty() {
        return Err(text
            .wrong(at, "[grid] has no option")
            .help("add one, such as learning-rate = [0.1, 0.3]"));
    }
    Ok(axes)
}

/// The table `[halving]`.
fn halving(text: Text<'_>, at: usize, table: &DeTable<'_>) -> Result<Halving, Failure> {
    let (mut min_epochs, mut factor) = (None, 3);
    for (key, value) in in_order(table) {
        let (name, place) = (key.get_ref().as_ref(), key.span().start);
        let least = match name {
            "min-epochs" => 1,
            "factor" => 2,
            _ => {
                let near = did_you_mean(name, ["min-epochs", "factor"]);
                return Err(text
                    .wrong(place, format_args!("there is no option {name:?} in [halving]"))
                    .help(near.unwrap_or_else(|| "it may have min-epochs and factor".to_owned())));
            }
        };
        let number = toml_whole(value.get_ref()).filter(|number| (least..=1_000_000).contains(number));
        let number = number.ok_or_else(|| {
            let says = format!("{name} must be a whole number, at least {least} and at most 1000000");
            text.wrong(place, says)
        })?;
        if name == "factor" { factor = number } else { min_epochs = Some(number) }
    }
    let none = || text.wrong(at, "[halving] does not say the epochs before the first choice");
    let min_epochs = min_epochs.ok_or_else(|| none().help("add min-epochs = 3"))?;
    Ok(Halving { min_epochs, factor })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
