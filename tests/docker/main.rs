//! The law in containers: `deploy/docker/Dockerfile` and `deploy/compose/compose.yaml` as they are, with real kills and real
//! cuts, end with the weights of `nn train`.
//!
//! ```console
//! $ bash .ci/docker      # gets and starts Docker where it is missing, compiles static binaries, and runs this
//! $ NN_BINARIES=dist/bin cargo test --test docker -- --ignored --nocapture     # where all this is there
//! ```

#![cfg(target_os = "linux")] // the processes in the containers are this machine's
#![allow(clippy::print_stdout, clippy::print_stderr)] // how far it is, and what is known where it fails
#![allow(clippy::disallowed_methods)] // every wait here is bounded by a clock

mod cluster;
#[path = "../common/mod.rs"]
mod common;

use std::process::Command;

use cluster::{Cluster, docker, inspect};
use common::Place;

/// Steps enough for all that is done meanwhile, and the network learns.
const OPTIONS: &str = "--data digits --hidden 1000,500 --activation relu --cost cross-entropy --learning-rate 0.02 \
                       --batch-size 720 --epochs 350";

/// The same for a test in which less happens.
const SHORT: &str = "--data digits --hidden 1000,500 --activation relu --cost cross-entropy --learning-rate 0.02 \
                     --batch-size 720 --epochs 150 --checkpoint-steps 10";

/// What each worker has of a processor until all is done that is done to them: no machine is then so fast that the run is over
/// before.
const CPUS: &str = "0.05";

/// Compares the run in `net` with `nn train`: weights, and every step of the log.
fn is_that_of_nn_train(place: &Place, options: &str) {
    let _ = place.nn(&format!("train --quiet --out alone {options}")).ok();
    let (net, alone) = (place.summary("net"), place.summary("alone"));
    for name in ["params_sha256", "config_hash", "data_sha256", "steps", "epochs", "train_loss", "test_loss"]
    {
        assert_eq!(net[name], alone[name], "{name}");
    }
    assert_eq!(net["outcome"], "complete");
    assert_eq!(place.steps("net"), place.steps("alone"));
    println!("the weights are those of nn train: {}", net["params_sha256"]);
}

/// Ends the coordinator as a fault would: not through Docker, to which that would be somebody's wish, but from outside.
fn kill_from_outside(container: &str) {
    let pid = inspect(container)["State"]["Pid"].to_string();
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    assert_eq!(name.trim(), "nn-coord", "the engine must be on this machine, and this be run as root");
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
}

#[test]
#[ignore = "needs Docker: bash .ci/docker"]
fn whatever_happens_to_containers_the_weights_are_those_of_nn_train() {
    let place = Place::new();
    let options = format!("{OPTIONS} --checkpoint-steps 25");
    let mut cluster = Cluster::new(
        "faults",
        ["coordinator", "worker"],
        "--coordinator 127.0.0.1 --token-file /secrets/token",
        &[("NN_OPTIONS", &options), ("NN_WORKER_CPUS", CPUS)],
    );
    cluster.build();
    cluster.up(4, "");
    let from =
        cluster.training("four workers take part", |status| status.workers() == 4 && status.step() >= 10);
    assert_eq!(from.generation(), 0);
    is_hardened(&cluster);

    let workers = cluster.workers();
    let [killed, cut, ..] = &workers[..] else { panic!("{workers:?}") };
    assert!(from.has(killed) && from.has(cut), "{from:#?}");
    let _ = docker(&format!("kill {killed}")).ok();
    let _ = cluster.training("one worker was killed", |status| !status.has(killed));
    let _ = cluster.gets_on(10);

    let network = cluster.network();
    let _ = docker(&format!("network disconnect {network} {cut}")).ok();
    let _ = cluster.training("one worker was cut off", |status| !status.has(cut) && status.workers() == 2);
    let _ = cluster.gets_on(10);
    let _ = docker(&format!("network connect {network} {cut}")).ok();
    let _ = cluster.training("it is back", |status| status.has(cut) && status.workers() == 3);

    let coordinator = cluster.coordinator();
    let before = cluster.gets_on(10);
    kill_from_outside(&coordinator);
    let back = |generation| {
        let what = format!("the coordinator and three workers are back, generation {generation}");
        let after =
            cluster.training(&what, |status| status.generation() == generation && status.workers() == 3);
        assert!(cluster.log().contains("resuming after step "), "{}", cluster.story());
        after
    };
    let after = back(1);
    assert!(after.step() + 25 >= before.step(), "it began anew: {before:#?} {after:#?}");
    let of = |what: &str| inspect(&coordinator)[what].clone();
    assert_eq!(of("RestartCount"), 1, "its restart policy has brought it back, and nobody else");

    let _ = cluster.gets_on(10);
    let _ = docker(&format!("restart {coordinator}")).ok();
    let _ = back(2);
    assert!(cluster.log().contains("stopped after step "), "{}", cluster.story());

    let before = cluster.gets_on(10);
    cluster.up(5, "");
    let after = cluster.training("five workers take part", |status| status.workers() == 5);
    assert_eq!((before.generation(), after.generation()), (2, 2), "the coordinator was left alone");
    assert!(after.has(killed), "the dead one is among them");

    // It moves: while it is stopped, a sixth worker takes its address.
    let address = || of("NetworkSettings")["Networks"][&network]["IPAddress"].as_str().unwrap().to_owned();
    let before = (cluster.gets_on(10), address());
    let _ = docker(&format!("stop {coordinator}")).ok();
    assert_eq!(of("State")["ExitCode"], 0);
    let _ = docker(&format!("network disconnect {network} {coordinator}")).ok();
    cluster.up(6, "--no-deps");
    let _ = docker(&format!("network connect --alias coordinator {network} {coordinator}")).ok();
    let _ = docker(&format!("start {coordinator}")).ok();
    let after =
        cluster.training("it has moved, and six workers have found it", |status| status.workers() == 6);
    assert_ne!(address(), before.1);
    assert!(after.generation() == 3 && after.step() >= before.0.step(), "{before:#?} {after:#?}");

    let left = cluster.gets_on(10);
    assert!(left.step() + 20 < left.total(), "all that was done to it was done in its midst");
    cluster.hurry();
    assert_eq!(cluster.ends(), 0, "{}", cluster.story());
    cluster.fetch(&place);
    is_that_of_nn_train(&place, OPTIONS);
    // Whoever wants another run finds the workers waiting, and nothing restarts for ever.
    for container in cluster.workers() {
        let state = inspect(&container);
        assert_eq!(
            (&state["State"]["Status"], &state["RestartCount"]),
            (&"running".into(), &0.into()),
            "{container}"
        );
    }
    assert_eq!(of("State")["Status"], "exited");
}

#[test]
#[ignore = "needs Docker: bash .ci/docker"]
fn with_mutual_tls_too_and_without_a_certificate_nobody_gets_in() {
    let place = Place::new();
    let options = SHORT;
    let ask = "--coordinator https://localhost --tls-ca /secrets/ca.pem --tls-cert /secrets/worker.pem --tls-key \
               /secrets/worker.key";
    let variables = [("NN_OPTIONS", options), ("NN_WORKER_CPUS", CPUS), ("NN_MIN_WORKERS", "2")];
    let mut cluster = Cluster::new("tls", ["coordinator-tls", "worker-tls"], ask, &variables);
    cluster.build();
    cluster.up(2, "");
    let _ = cluster.training("two workers take part", |status| status.workers() == 2 && status.step() >= 5);
    is_hardened(&cluster);
    let coordinator = cluster.coordinator();
    // The keys that they need are there, and the others are not.
    let worker = &cluster.workers()[0];
    for (container, file, there) in [
        (&coordinator, "coordinator.key", true),
        (&coordinator, "ca.key", false),
        (worker, "worker.key", true),
        (worker, "ca.key", false),
        (worker, "coordinator.key", false),
    ] {
        let path = format!("/proc/{}/root/secrets/{file}", inspect(container)["State"]["Pid"]);
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(!bytes.is_empty(), there, "{container} {file}");
    }

    // From its network, but without a certificate, or with one of somebody else's CA.
    let network = cluster.network();
    let stranger = |command: &str| {
        let image = cluster.image();
        docker(&format!(
            "run --rm --no-healthcheck --network {network} --volumes-from {coordinator}:ro {image} {command}"
        ))
    };
    let to = "--coordinator https://coordinator-tls --tls-ca /secrets/ca.pem";
    stranger(&format!("nn status {to} --tls-cert /secrets/worker.pem --tls-key /secrets/worker.key")).ok();
    stranger(&format!("nn status {to}")).refused(4, &["certificate"]);
    stranger(&format!("nn-worker {to} --retry-seconds 0")).refused(4, &["certificate"]);
    stranger("nn status --coordinator http://coordinator-tls").refused(4, &["TLS"]);

    let before = cluster.gets_on(5);
    kill_from_outside(&coordinator);
    let after = cluster.training("the coordinator and both workers are back", |status| {
        status.generation() == 1 && status.workers() == 2
    });
    assert!(after.step() + 10 >= before.step(), "it began anew: {before:#?} {after:#?}");
    cluster.hurry();
    assert_eq!(cluster.ends(), 0, "{}", cluster.story());
    cluster.fetch(&place);
    is_that_of_nn_train(&place, options);
}

/// Looks at what Docker has made: nobody's user, nothing to write to, no privileges, nothing in the image but us, and healthy.
fn is_hardened(cluster: &Cluster) {
    let size = inspect(cluster.image())["Size"].as_u64().unwrap();
    println!("the image has {} MB", size / 1_000_000);
    assert!(size < 80_000_000, "{size}");
    let coordinator = cluster.coordinator();
    for container in cluster.workers().iter().chain([&coordinator]) {
        let container = inspect(container);
        assert_eq!(container["Config"]["User"], "65532:65532");
        let host = &container["HostConfig"];
        assert_eq!(host["ReadonlyRootfs"], true);
        assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]));
        assert_eq!(host["SecurityOpt"], serde_json::json!(["no-new-privileges:true"]));
        assert_eq!(host["RestartPolicy"], serde_json::json!({"Name": "on-failure", "MaximumRetryCount": 10}));
        assert!(host["PortBindings"].as_object().is_none_or(serde_json::Map::is_empty), "{host}");
        // And as the system has it, which is what counts.
        let pid = &container["State"]["Pid"];
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        for line in ["Uid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"] {
            assert!(status.contains(line), "{line:?} is not in {status}");
        }
    }
    let exported = docker(&format!("exec {coordinator} sh -c true"));
    assert_ne!(exported.code, Some(0), "there is a shell: {exported:#?}");
    let health = || inspect(&coordinator)["State"]["Health"]["Status"].clone();
    cluster.until("a healthy coordinator", || (health() == "healthy").then_some(()));
}
