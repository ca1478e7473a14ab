//! The status of a sweep, drawn for people.

use std::time::Duration;

use indicatif::HumanDuration;
use nn_net::proto as pb;
use serde_json::{Value, json};

use super::table::{Room, clip};
use crate::commands::sweep::aligned;
use crate::show::counted;

/// What has become of the runs, and whether the sweep waits, in one line.
pub(super) fn headline(status: &pb::RunStatus, sweep: &pb::SweepStatus) -> String {
    let parts = [
        (sweep.running, "running"),
        (sweep.waiting, "waiting"),
        (sweep.stopped, "stopped"),
        (sweep.diverged, "diverged"),
        (sweep.failed, "failed"),
        (sweep.left_behind, "left behind"),
    ];
    let rest =
        parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}"));
    let runs = counted(usize::try_from(all(sweep)).unwrap_or(usize::MAX), "run");
    let text = format!("{} of {runs} done", sweep.done) + &rest.collect::<String>();
    if status.state() == pb::RunState::Over {
        return format!("the sweep is over: {text}");
    }
    if status.waiting_for.is_empty() {
        return text;
    }
    let time = Duration::from_secs(status.waiting_seconds as u64);
    format!("waiting for {} (for {}); {text}", status.waiting_for, HumanDuration(time))
}

fn all(sweep: &pb::SweepStatus) -> u64 {
    let pb::SweepStatus { waiting, running, done, diverged, failed, stopped, left_behind } = sweep;
    waiting + running + done + diverged + failed + stopped + left_behind
}

/// A line of headings, and a line for each run that a worker has and for each worker that has none.
pub(super) fn lines(status: &pb::RunStatus, room: Room) -> Vec<String> {
    if status.workers.is_empty() {
        return Vec::new();
    }
    let mut rows =
        vec![["threads", "worker", "run", "epoch", "train loss", "last heard", "options"].map(String::from)];
    for worker in &status.workers {
        let row = |of: [String; 4]| {
            let [run, epoch, loss, options] = of;
            let name = clip(&format!("{} {}", worker.worker, worker.name));
            let heard = format!("{:.1} s ago", worker.silent_seconds);
            [worker.threads.to_string(), name, run, epoch, loss, heard, options]
        };
        if worker.runs.is_empty() {
            rows.push(row(["idle", "–", "–", ""].map(String::from)));
        }
        for run in &worker.runs {
            let loss = run.train_loss.map_or_else(|| "–".to_owned(), |loss| format!("{loss:.5}"));
            let epoch = format!("{}/{}", run.epoch, run.epochs);
            rows.push(row([run.name.clone(), epoch, loss, run.options.clone()]));
        }
    }
    // One line is for the headings, one for the count of those omitted.
    let all = rows.len();
    if all > room.height {
        rows.truncate(room.height.saturating_sub(1).max(2));
    }
    let mut lines = aligned(&rows, room.width);
    if all > rows.len() {
        lines.push(format!("… and {} more; `nn status` shows all", all - rows.len()));
    }
    lines
}

/// The runs of a sweep as JSON.
pub(super) fn as_json(sweep: &pb::SweepStatus) -> Value {
    json!({
        "runs": all(sweep),
        "waiting": sweep.waiting,
        "running": sweep.running,
        "done": sweep.done,
        "diverged": sweep.diverged,
        "failed": sweep.failed,
        "stopped": sweep.stopped,
        "left_behind": sweep.left_behind,
    })
}

/// A run of a worker as JSON. Its number is that of `sweep.json`.
pub(super) fn of_run(run: &pb::RunProgress) -> Value {
    json!({
        "run": run.run + 1,
        "folder": run.name,
        "words": run.options,
        "epochs_done": run.epoch,
        "epochs_planned": run.epochs,
        "train_loss": run.train_loss,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> pb::RunStatus {
        let run = |run, train_loss| pb::RunProgress {
            run,
            name: format!("run-00{}", run + 1),
            options: format!("learning-rate=0.{run} seed={run}"),
            epoch: run,
            epochs: 10,
            train_loss,
        };
        let worker = |worker, name: &str, runs| pb::WorkerStatus {
            worker,
            name: name.to_owned(),
            threads: 2,
            silent_seconds: 0.12,
            runs,
            ..Default::default()
        };
        let sweep = pb::SweepStatus { waiting: 3, running: 2, done: 1, failed: 1, ..Default::default() };
        let mut status = pb::RunStatus {
            workers: vec![
                worker(1, "ada", vec![run(0, None), run(4, Some(0.25))]),
                worker(12, "grace", Vec::new()),
            ],
            sweep: Some(sweep),
            ..Default::default()
        };
        status.set_state(pb::RunState::Training);
        status
    }

    #[test]
    fn headlines() {
        let mut status = status();
        let sweep = status.sweep.unwrap();
        let text = "1 of 7 runs done, 2 running, 3 waiting, 1 failed";
        assert_eq!(headline(&status, &sweep), text);
        status.set_state(pb::RunState::Over);
        assert_eq!(headline(&status, &sweep), format!("the sweep is over: {text}"));
        status.set_state(pb::RunState::Waiting);
        (status.waiting_for, status.waiting_seconds) = ("a worker; none has joined yet".to_owned(), 300.0);
        let said = headline(&status, &sweep);
        assert_eq!(said, format!("waiting for a worker; none has joined yet (for 5 minutes); {text}"));
    }

    #[test]
    fn the_table_names_workers_and_their_runs() {
        let want = [
            "threads  worker        run  epoch  train loss  last heard  options",
            "      2  1 ada     run-001   0/10           –   0.1 s ago  learning-rate=0.0 seed=0",
            "      2  1 ada     run-005   4/10     0.25000   0.1 s ago  learning-rate=0.4 seed=4",
            "      2  12 grace  idle         –           –   0.1 s ago",
        ];
        assert_eq!(lines(&status(), Room::ENDLESS), want);
        let small = lines(&status(), Room { width: 60, height: 3 });
        assert_eq!((small.len(), small[2].as_str()), (3, "… and 2 more; `nn status` shows all"));
        assert!(small.iter().all(|line| line.chars().count() <= 60), "{small:?}");
        assert!(lines(&pb::RunStatus::default(), Room::ENDLESS).is_empty());
    }
}
