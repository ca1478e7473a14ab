//! Runs on workers: real programs on the loopback interface.

use std::fs;

use serde_json::Value;

use crate::common::{Place, figure, promtool};
use crate::process::{Process, free, until};
use crate::{runs, sweep};

/// Starts a sweep that listens, and gives its address.
fn listening(place: &Place, arguments: &str) -> (Process, String) {
    let program = env!("CARGO_BIN_EXE_nn");
    let process = Process::start(place, program, &[], &format!("sweep --listen 127.0.0.1:0 {arguments}"));
    let address = until(
        "an address",
        || process.story(),
        || {
            let said = process.stdout();
            let rest = said.split("listening on ").nth(1)?;
            Some(rest.split(';').next()?.to_owned())
        },
    );
    (process, address)
}

fn worker(place: &Place, address: &str, arguments: &str) -> Process {
    let program = env!("CARGO_BIN_EXE_nn-worker");
    let arguments = format!("--coordinator {address} --threads 1 --retry-seconds 60 {arguments}");
    Process::start(place, program, &[], &arguments)
}

/// The state of a sweep that is going on.
fn state(place: &Place, out: &str) -> Vec<Value> {
    let text = fs::read_to_string(place.at(out).join("sweep.json")).unwrap_or_default();
    let state: Value = serde_json::from_str(&text).unwrap_or_default();
    state["runs"].as_array().cloned().unwrap_or_default()
}

const CONFIG: &str = "epochs = 5\nvalidation-fraction = 0.2\nhidden = 40\ncheckpoint-steps = 40\nbatch-size = 5\n\
                      [grid]\nlearning-rate = [0.1, 0.5, 1.0]\nearly-stopping = [1, 9]";

/// Fails unless two sweeps have the same results, run by run and step by step.
#[track_caller]
fn same(place: &Place, a: &str, b: &str) {
    let (first, second) = (sweep(place, a), sweep(place, b));
    assert_eq!(second["outcome"], "complete");
    for (x, y) in runs(&first).iter().zip(runs(&second)) {
        assert_eq!((&x["params_sha256"], &x["state"]), (&y["params_sha256"], &y["state"]));
        let folder = x["folder"].as_str().unwrap();
        let [x, y] = [a, b].map(|out| format!("{out}/{folder}"));
        assert_eq!(place.steps(&x), place.steps(&y), "{folder}");
        let [mut p, mut q] = [&x, &y].map(|out| place.metrics(out));
        for line in p.iter_mut().chain(&mut q) {
            let line = line.as_object_mut().unwrap();
            line.retain(|key, _| !["seconds", "samples_per_second"].contains(&key.as_str()));
        }
        assert_eq!(p, q, "{folder}");
        let file = |out: &str, name: &str| fs::read(place.at(out).join(name)).unwrap();
        assert_eq!(file(&x, "model.safetensors"), file(&y, "model.safetensors"), "{folder}");
    }
    assert_eq!(first["best"], second["best"]);
}

#[test]
fn a_killed_worker_changes_no_bit_and_its_runs_go_on_elsewhere() {
    let place = Place::new();
    let _ = place.file("s.toml", CONFIG);
    let _ = place.nn("sweep --quiet --config s.toml --out here").ok();
    let (mut coordinator, address) = listening(&place, "--config s.toml --out there");
    let mut doomed = worker(&place, &address, "--name doomed");
    // It is killed in the middle of a run, of which a checkpoint has arrived.
    until(
        "a checkpoint",
        || format!("{}\n{}", coordinator.story(), doomed.story()),
        || {
            let checkpoints = fs::read_dir(place.at("there/run-002/checkpoints")).ok()?;
            let newest =
                checkpoints.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("step-"));
            newest.then_some(())
        },
    );
    doomed.child.kill().unwrap();
    let heir = worker(&place, &address, "--name heir");
    let other = worker(&place, &address, "--name other");
    let ran = coordinator.ended();
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert!(ran.stdout.contains("has lost its worker doomed"), "{ran:#?}");
    for mut worker in [heir, other] {
        let ran = worker.ended();
        assert_eq!(ran.code, Some(0), "{ran:#?}");
        assert!(ran.stdout.contains("the sweep is over: 6 runs are done"), "{ran:#?}");
    }
    same(&place, "here", "there");
    place.no_halves();
    let workers: Vec<Value> = state(&place, "there").iter().map(|run| run["worker"].clone()).collect();
    assert!(workers.contains(&"doomed".into()) && workers.contains(&"heir".into()), "{workers:?}");
    // The folders are runs' folders.
    let ran = place.nn("eval --model there/run-004/model.safetensors").ok();
    assert!(ran.stdout.contains("accuracy"), "{ran:#?}");
}

/// A connection that is silent for 30 s is taken for lost.
#[test]
fn a_worker_that_hangs_is_noticed_and_its_run_goes_on_elsewhere() {
    let place = Place::new();
    let config = CONFIG.replace(", 0.5, 1.0", "");
    let _ = place.file("s.toml", &config);
    let _ = place.nn("sweep --quiet --config s.toml --out here").ok();
    let (mut coordinator, address) = listening(&place, "--config s.toml --out there");
    let hangs = worker(&place, &address, "--name hangs");
    until(
        "a run",
        || coordinator.story(),
        || state(&place, "there").iter().any(|run| run["worker"] == "hangs").then_some(()),
    );
    let stopped = std::process::Command::new("kill").args(["-STOP", &hangs.child.id().to_string()]).status();
    assert!(stopped.unwrap().success());
    let mut heir = worker(&place, &address, "--name heir");
    let ran = coordinator.ended();
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert!(ran.stdout.contains("has lost its worker hangs"), "{ran:#?}");
    assert_eq!(heir.ended().code, Some(0));
    same(&place, "here", "there");
}

/// Workers are sent the model, and do not read it from anywhere.
#[test]
fn a_sweep_on_workers_begins_with_a_model() {
    let (place, elsewhere) = (Place::new(), Place::new());
    let _ = place.nn("train --quiet --epochs 1 --hidden 40 --batch-size 5 --seed 7 --out base").ok();
    let config = format!("from = 'base/model.safetensors'\n{}", CONFIG.replace(", 0.5, 1.0", ""));
    let _ = place.file("s.toml", config.replace("hidden = 40\n", ""));
    let _ = place.nn("sweep --quiet --config s.toml --out here").ok();
    let (mut coordinator, address) =
        listening(&place, "--config s.toml --out there --metrics-listen 127.0.0.1:0");
    fs::rename(place.at("base"), place.at("gone")).unwrap();
    let mut doomed = worker(&elsewhere, &address, "--name doomed");
    // It is killed once the first checkpoint has arrived: the run goes on with the model and the checkpoint.
    until(
        "a checkpoint",
        || format!("{}\n{}", coordinator.story(), doomed.story()),
        || {
            let mut runs = state(&place, "there").into_iter();
            let done = runs.any(|run| run["state"] == "done");
            let arrived =
                fs::read_dir(place.at("there/run-001/checkpoints")).is_ok_and(|dir| dir.count() > 0);
            (done || arrived).then_some(())
        },
    );
    let asked = place.nn(&format!("status --coordinator {address}")).ok().stdout;
    for part in ["of 2 runs done", "last heard", "doomed"] {
        assert!(asked.contains(part), "{part}: {asked}");
    }
    let said = coordinator.stdout();
    let figures = said.split("figures for Prometheus are at http://").nth(1).unwrap();
    let figures = figures.split("/metrics").next().unwrap().to_owned();
    let text = crate::get(&figures, "/metrics");
    assert_eq!(figure(&text, "nn_connections_refused_total"), Some(0.0), "{text}");
    assert!(text.contains("nn_runs{state=\"running\"}") && text.contains("name=\"doomed\""), "{text}");
    promtool(&text);
    doomed.child.kill().unwrap();
    let mut heir = worker(&elsewhere, &address, "--name heir");
    let ran = coordinator.ended();
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    // If the first worker had finished everything before it was killed, the second finds nobody, and waits.
    let _ = heir.child.kill();
    let _ = heir.ended();
    same(&place, "here", "there");
    for run in ["run-001", "run-002"] {
        let summary = place.summary(&format!("there/{run}"));
        assert_eq!(summary["from"], "base/model.safetensors", "{summary}");
    }
    // It is what `nn train` gives.
    fs::rename(place.at("gone"), place.at("base")).unwrap();
    let _ = place
        .nn(
            "train --quiet --from base/model.safetensors --epochs 5 --validation-fraction 0.2 --batch-size 5 \
             --early-stopping 9 --learning-rate 0.1 --out alone",
        )
        .ok();
    assert_eq!(place.hash("there/run-002"), place.hash("alone"));
    // A sweep that goes on needs the model, and the same one.
    let _ = place.nn("train --quiet --epochs 1 --hidden 40 --seed 8 --out base --overwrite").ok();
    let again = place.nn("sweep --quiet --config s.toml --listen 127.0.0.1:0 --out there --resume");
    again.refused(2, &["there"]);
}

#[test]
fn a_killed_coordinator_resumes_with_workers_that_have_waited() {
    let place = Place::new();
    let _ = place.file("s.toml", CONFIG);
    let _ = place.nn("sweep --quiet --config s.toml --out here").ok();
    let port = free();
    let start = |more: &str| {
        let arguments = format!("sweep --listen {port} --config s.toml --out there {more}");
        Process::start(&place, env!("CARGO_BIN_EXE_nn"), &[], &arguments)
    };
    let mut first = start("");
    let mut staying = worker(&place, &port, "--name one");
    until(
        "a run that is done",
        || first.story(),
        || state(&place, "there").iter().any(|run| run["state"] == "done").then_some(()),
    );
    first.child.kill().unwrap();
    let _ = first.ended();
    assert!(state(&place, "there").iter().any(|run| run["state"] != "done"));
    let ran = start("--resume").ended();
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert_eq!(staying.ended().code, Some(0));
    same(&place, "here", "there");
}

#[test]
fn halving_tables_tokens_and_tls_work_with_workers_too() {
    let place = Place::new();
    place.nn("certs init").ok();
    place.nn("certs worker alice").ok();
    place.nn("certs token token").ok();
    let _ = place.file("flowers.csv", crate::table(300));
    let _ = place.file(
        "s.toml",
        "data = 'flowers.csv'\nepochs = 4\n[grid]\nlearning-rate = [0.001, 0.01, 0.1]\n[sweep]\nfolds = 2\n\
         [halving]\nmin-epochs = 1\nfactor = 2",
    );
    let _ = place.nn("sweep --quiet --config s.toml --out here").ok();
    let server = "--tls-cert certs/coordinator.pem --tls-key certs/coordinator.key --tls-ca certs/ca.pem \
                  --require-client-cert --token-file token";
    let (mut coordinator, address) = listening(&place, &format!("--config s.toml --out there {server}"));
    let alice = "--tls-ca certs/ca.pem --tls-cert certs/alice.pem --tls-key certs/alice.key";
    let url = format!("https://{address}");
    let stranger = worker(&place, &url, alice).ended();
    assert_eq!(stranger.code, Some(4), "without the token: {stranger:#?}");
    assert!(stranger.stderr.contains("token"), "{stranger:#?}");
    place.nn(&format!("status --coordinator {url} {alice}")).refused(4, &["token"]);
    let status = place.nn(&format!("status --json --coordinator {url} {alice} --token-file token")).json();
    assert_eq!((&status["state"], &status["sweep"]["waiting"]), (&"waiting".into(), &6.into()), "{status}");
    assert_eq!(status["waiting_for"], "a worker; none has joined yet", "{status}");
    assert!(status["connections_refused"].as_u64() >= Some(1), "{status}");
    let mut guest = worker(&place, &url, &format!("{alice} --token-file token"));
    let ran = coordinator.ended();
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert_eq!(guest.ended().code, Some(0));
    assert!(ran.stdout.contains("configurations go on"), "{ran:#?}");
    let (here, there) = (sweep(&place, "here"), sweep(&place, "there"));
    assert_eq!(there["outcome"], "complete");
    for (x, y) in runs(&here).iter().zip(runs(&there)) {
        for key in ["params_sha256", "state", "stages", "data_sha256", "validation_accuracy"] {
            assert_eq!(x[key], y[key], "{key}");
        }
    }
    // The interrupted end: a sweep without workers stops at once.
    let (mut idle, _) = listening(&place, "--config s.toml --out idle");
    idle.signal("INT");
    assert_eq!(idle.ended().code, Some(0));
}
