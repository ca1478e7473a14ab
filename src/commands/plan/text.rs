//! A plan in words: the table, one sentence of advice, and what is not known.

use indicatif::HumanCount;
use nn_engine::{Manifest, Rounds};

use super::model::Bound;
use super::outlook::{Outlook, Row};
use crate::config::Link;
use crate::show::{Style, counted, wrapped};

/// The columns of the table: their headings and widths, 77 columns in all.
const COLUMNS: [(&str, usize); 8] = [
    ("workers", 7),
    ("a worker", 10),
    ("in all", 10),
    ("time", 10),
    ("bound by", 11),
    ("samples/s", 11),
    ("x", 7),
    ("pays from", 11),
];

/// The whole report; `data` and `threads` are those of this machine.
pub(super) fn report(
    outlook: &Outlook,
    run: &Manifest,
    (data, threads): (&str, usize),
    style: &Style,
) -> String {
    let widths: Vec<String> = run.model().widths().iter().map(ToString::to_string).collect();
    let network = &outlook.network;
    let speed = if network.worker_speed == 1.0 {
        "workers as fast as this machine".to_owned()
    } else {
        format!("workers {} times as fast as this machine", figure(network.worker_speed))
    };
    let both = if network.up == network.down {
        format!("{} in each direction", Link(network.up).in_bits())
    } else {
        format!("{} to the coordinator, {} from it", Link(network.up).in_bits(), Link(network.down).in_bits())
    };
    let mut text = [
        format!(
            "{data}: network {}, {} parameters, mini-batches of {}, {} epochs",
            widths.join("-"),
            HumanCount(run.model().parameters() as u64),
            run.recipe().batch_size,
            run.recipe().epochs
        ),
        format!("the coordinator's link: {both}, {} a message; {speed}", time(network.latency)),
        format!(
            "one machine, {}: {} a step, {} samples/s (measured)",
            counted(threads, "thread"),
            time(outlook.costs.step),
            HumanCount(outlook.alone as u64)
        ),
    ]
    .map(|line| format!("{}\n", wrapped(&line, style)))
    .concat();
    let (in_rounds, steps): (Vec<&Row>, Vec<&Row>) =
        outlook.rows.iter().partition(|row| row.replicas.is_some());
    for (rows, title) in [(steps, "synchronous, each step"), (in_rounds, "rounds, each round")] {
        if let Some(first) = rows.first() {
            let title = match (first.replicas, rows.iter().map(|row| row.turn.steps)) {
                (Some(_), steps) => format!("{title}, of {} steps on average", range(steps)),
                (None, _) => title.to_owned(),
            };
            text += &format!("\n{title}\n{}", table(&rows));
        }
    }
    for note in notes(outlook) {
        text += &format!("{}\n", wrapped(&note, style));
    }
    text += &format!("\n{}\n\n{}\n", wrapped(&advice(outlook), style), wrapped(&unknown(outlook), style));
    text
}

/// The least and the greatest of some numbers, rounded.
fn range(numbers: impl Iterator<Item = f64> + Clone) -> String {
    let least = numbers.clone().fold(f64::INFINITY, f64::min).round();
    let most = numbers.fold(0.0, f64::max).round();
    if least == most { format!("{least:.0}") } else { format!("{least:.0} to {most:.0}") }
}

fn table(rows: &[&Row]) -> String {
    let line = |cells: [String; 8]| {
        let cells = cells.iter().zip(COLUMNS).map(|(cell, (_, width))| format!("{cell:>width$}"));
        format!("{}\n", cells.collect::<String>())
    };
    let mut text = line(COLUMNS.map(|(heading, _)| heading.to_owned()));
    for row in rows {
        let turn = &row.turn;
        text += &line([
            turn.workers.to_string(),
            bytes(turn.worker_up + turn.worker_down),
            bytes(turn.coordinator_up + turn.coordinator_down),
            time(turn.seconds),
            turn.bound().name().to_owned(),
            HumanCount(turn.samples_per_second() as u64).to_string(),
            figure(row.times),
            row.break_even_link.map_or("never".to_owned(), |link| Link(link).in_bits()),
        ]);
    }
    text
}

/// What the table does not say.
fn notes(outlook: &Outlook) -> Vec<String> {
    let mut notes = vec![
        "Bytes are up and down; x is samples/s beside one machine, and it pays from that link on.".to_owned(),
    ];
    let steps: Vec<&Row> = outlook.rows.iter().filter(|row| row.replicas.is_none()).collect();
    let few = |row: &&&Row| row.turn.computing_workers < row.turn.workers;
    if let Some(row) = steps.iter().rev().find(few) {
        notes.push(format!(
            "Synchronous with {}, only {} of them would compute: this mini-batch is not worth more transfers.",
            counted(row.turn.workers as usize, "worker"),
            row.turn.computing_workers
        ));
    }
    if let Some(row) = steps.iter().find(|row| row.times < 1.0) {
        let count = counted(row.turn.workers as usize, "worker");
        notes.push(match row.break_even_batch {
            Some(batch) => format!(
                "Synchronous with {count}, this link pays from mini-batches of about {} on.",
                HumanCount(rounded(batch as f64) as u64)
            ),
            None => format!("Synchronous with {count}, this link pays with no mini-batch."),
        });
    }
    notes
}

/// One sentence of advice.
pub(super) fn advice(outlook: &Outlook) -> String {
    let Some(best) = outlook.best() else {
        let more = outlook.rows.iter().any(|row| row.times > 1.0);
        return if more {
            "Advice: more samples a second are possible, but no accuracy is known to come sooner: stay on one \
             machine."
                .to_owned()
        } else {
            "Advice: one machine is faster than this network can help: stay.".to_owned()
        };
    };
    let workers = counted(best.turn.workers as usize, "worker");
    let times = figure(best.times);
    match (best.replicas, best.sooner) {
        (Some(_), Some(sooner)) => format!(
            "Advice: {} with {workers}: about {times} times the samples a second, {}.",
            best.flags,
            sooner_in_words(sooner)
        ),
        _ => format!(
            "Advice: {workers}, without rounds: about {times} times the samples a second, and as much sooner at the \
             same accuracy."
        ),
    }
}

fn sooner_in_words((least, greatest): (f64, f64)) -> String {
    let (low, high) = (format!("{least:.1}"), format!("{greatest:.1}"));
    if low == high {
        format!("about {high} times sooner at the same accuracy")
    } else if least >= 1.0 {
        format!("{low} to {high} times sooner at the same accuracy")
    } else {
        format!("at the same accuracy from {low} times as soon to {high} times")
    }
}

/// What the plan does not know.
pub(super) fn unknown(outlook: &Outlook) -> String {
    let study = outlook.study;
    let measured: Vec<String> = [2, 4, 8, 16]
        .into_iter()
        .filter_map(|replicas| {
            let (least, greatest) = study.speedup(replicas)?;
            let range = if least == greatest { format!("{least}") } else { format!("{least} to {greatest}") };
            Some(format!("{range} with {replicas}"))
        })
        .collect();
    format!(
        "Not known: accuracy. Samples a second are not accuracy: rounds need more samples. In a study of {} on MNIST, \
         replicas reached the same accuracy in fewer steps than one machine by these factors: {}. Your data and network \
         may differ. Evaluation, files, other traffic and unequal workers are not counted.",
        study.network,
        measured.join(", ")
    )
}

/// What `nn-coord` says at its start if the run, the only row, will be slower than one machine.
pub(super) fn warning(outlook: &Outlook) -> Option<String> {
    let row = outlook.rows.first().filter(|row| row.times < 1.0)?;
    let turn = &row.turn;
    let of = if row.replicas.is_some() { "round" } else { "step" };
    let alone = turn.samples / outlook.alone;
    Some(format!(
        "with {} and a link of {} this run will be slower than one machine: about {} a {of}, bound by {}, and {} on \
         this machine alone; `nn plan` with the same options and --link shows what would help",
        match (turn.workers as usize, outlook.network.own_worker) {
            (workers, true) => format!("this machine, {}", counted(workers - 1, "worker")),
            (workers, false) => counted(workers, "worker"),
        },
        Link(outlook.network.up).in_bits(),
        time(turn.seconds),
        match turn.bound() {
            Bound::Link => "the link",
            bound => bound.name(),
        },
        time(alone)
    ))
}

/// The flags that give these rounds.
pub(super) fn flags(rounds: &Rounds, default_replicas: u32) -> String {
    let steps = rounds.steps.map_or("auto".to_owned(), |steps| steps.to_string());
    if rounds.replicas == default_replicas {
        format!("--rounds {steps}")
    } else {
        format!("--rounds {steps} --replicas {}", rounds.replicas)
    }
}

/// A number with about two significant digits.
fn figure(number: f64) -> String {
    match number {
        n if n < 0.0995 => format!("{n:.3}"),
        n if n < 9.95 => format!("{n:.2}"),
        n if n < 99.5 => format!("{n:.1}"),
        n => format!("{n:.0}"),
    }
}

/// A number rounded to two significant digits.
fn rounded(number: f64) -> f64 {
    let unit = 10_f64.powf(number.max(1.0).log10().floor() - 1.0).max(1.0);
    (number / unit).round() * unit
}

/// Bytes with three significant digits.
fn bytes(bytes: f64) -> String {
    let (number, unit) = match bytes {
        1e9.. => (bytes / 1e9, "GB"),
        1e6.. => (bytes / 1e6, "MB"),
        _ => (bytes / 1e3, "kB"),
    };
    format!("{} {unit}", three(number))
}

/// Seconds with three significant digits.
pub(in crate::commands) fn time(seconds: f64) -> String {
    match seconds {
        3600.0.. => format!("{} h", three(seconds / 3600.0)),
        60.0.. => format!("{} min", three(seconds / 60.0)),
        1.0.. => format!("{} s", three(seconds)),
        _ => format!("{} ms", three(seconds * 1e3)),
    }
}

fn three(number: f64) -> String {
    match number {
        n if n < 9.995 => format!("{n:.2}"),
        n if n < 99.95 => format!("{n:.1}"),
        n => format!("{n:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!([0.034, 0.5, 3.2, 12.34, 123.4].map(figure), ["0.034", "0.50", "3.20", "12.3", "123"]);
        assert_eq!([1234.0, 4.29e6, 1.2e10].map(bytes), ["1.23 kB", "4.29 MB", "12.0 GB"]);
        assert_eq!([2.1e-4, 0.0353, 1.53, 90.0].map(time), ["0.21 ms", "35.3 ms", "1.53 s", "1.50 min"]);
        assert_eq!([1.0, 87.0, 1234.0, 98_765.0].map(rounded), [1.0, 87.0, 1200.0, 99_000.0]);
    }

    #[test]
    fn the_table_has_room_on_80_columns() {
        assert!(COLUMNS.iter().map(|(_, width)| width).sum::<usize>() <= 79);
        for (heading, width) in COLUMNS {
            assert!(heading.len() <= width, "{heading}");
        }
    }

    #[test]
    fn doubt_is_said() {
        assert_eq!(sooner_in_words((1.5, 2.04)), "1.5 to 2.0 times sooner at the same accuracy");
        assert_eq!(sooner_in_words((1.52, 1.54)), "about 1.5 times sooner at the same accuracy");
        assert!(sooner_in_words((0.8, 1.6)).contains("from 0.8 times as soon to 1.6 times"));
    }
}
