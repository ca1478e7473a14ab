//! The law in containers: a cluster made with `deploy/docker/Dockerfile` and `deploy/compose/compose.yaml`, whose containers
//! are killed and disconnected, ends with the weights of `nn train`.
//!
//! ```console
//! $ bash .ci/docker      # installs and starts Docker if it is missing, compiles static binaries, and runs these tests
//! $ NN_BINARIES=dist/bin cargo test --workspace --test docker -- --ignored --nocapture     # if you have Docker and the binaries
//! ```

#![cfg(target_os = "linux")] // processes in containers are visible on the host
#![allow(clippy::print_stdout, clippy::print_stderr)] // prints progress, and logs if it fails
#![allow(clippy::disallowed_methods)] // every wait here is bounded by a clock

mod cluster;
#[path = "../common/mod.rs"]
mod common;

use std::process::Command;

use cluster::{Cluster, docker, inspect};
use common::Place;

/// The training options: enough steps for all the faults, and a network that learns.
const OPTIONS: &str = "--data digits --recipe book --hidden 1000,500 --activation relu --cost cross-entropy --learning-rate 0.02 \
                       --batch-size 720 --epochs 350";

/// Training options for a test with fewer faults.
const SHORT: &str = "--data digits --recipe book --hidden 1000,500 --activation relu --cost cross-entropy --learning-rate 0.02 \
                     --batch-size 720 --epochs 150 --checkpoint-steps 10";

/// Each worker's share of a processor while faults are injected: so small that no machine finishes the run too early.
const CPUS: &str = "0.05";

/// Fails unless the run in `net` has the weights of `nn train`, at the end and after every step.
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

/// Kills the coordinator as a fault would, from outside. If Docker killed it, the restart policy would not apply.
fn kill_from_outside(container: &str) {
    let pid = inspect(container)["State"]["Pid"].to_string();
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    assert_eq!(name.trim(), "nn-coord", "the test needs a Docker engine on this machine, and root");
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
}

#[test]
#[ignore = "needs Docker: bash .ci/docker"]
fn a_cluster_whose_containers_fail_ends_with_the_weights_of_nn_train() {
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
        cluster.training("four workers have joined", |status| status.workers() == 4 && status.step() >= 10);
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
    let _ = cluster.training("it has rejoined", |status| status.has(cut) && status.workers() == 3);

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
    assert!(after.step() + 25 >= before.step(), "it started from the beginning: {before:#?} {after:#?}");
    let of = |what: &str| inspect(&coordinator)[what].clone();
    assert_eq!(of("RestartCount"), 1, "the restart policy must have restarted it");

    let _ = cluster.gets_on(10);
    let _ = docker(&format!("restart {coordinator}")).ok();
    let _ = back(2);
    assert!(cluster.log().contains("stopped after step "), "{}", cluster.story());

    let before = cluster.gets_on(10);
    cluster.up(5, "");
    let after = cluster.training("five workers have joined", |status| status.workers() == 5);
    assert_eq!((before.generation(), after.generation()), (2, 2), "the coordinator must not restart");
    assert!(after.has(killed), "the killed worker must be among them");

    // The coordinator moves: while it is stopped, a sixth worker takes its address.
    let address = || of("NetworkSettings")["Networks"][&network]["IPAddress"].as_str().unwrap().to_owned();
    let before = (cluster.gets_on(10), address());
    let _ = docker(&format!("stop {coordinator}")).ok();
    assert_eq!(of("State")["ExitCode"], 0);
    let _ = docker(&format!("network disconnect {network} {coordinator}")).ok();
    cluster.up(6, "--no-deps");
    let _ = docker(&format!("network connect --alias coordinator {network} {coordinator}")).ok();
    let _ = docker(&format!("start {coordinator}")).ok();
    let after = cluster.training("it has moved, and six workers have joined", |status| status.workers() == 6);
    assert_ne!(address(), before.1);
    assert!(after.generation() == 3 && after.step() >= before.0.step(), "{before:#?} {after:#?}");

    let left = cluster.gets_on(10);
    assert!(left.step() + 20 < left.total(), "the run ended too early for the last fault");
    cluster.hurry();
    assert_eq!(cluster.ends(), 0, "{}", cluster.story());
    cluster.fetch(&place);
    is_that_of_nn_train(&place, OPTIONS);
    // The workers wait for another run, and nothing restarts again and again.
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
fn a_cluster_with_mutual_tls_recovers_and_admits_nobody_without_a_certificate() {
    let place = Place::new();
    let options = SHORT;
    let ask = "--coordinator https://localhost --tls-ca /secrets/ca.pem --tls-cert /secrets/worker.pem --tls-key \
               /secrets/worker.key";
    let variables = [("NN_OPTIONS", options), ("NN_WORKER_CPUS", CPUS), ("NN_MIN_WORKERS", "2")];
    let mut cluster = Cluster::new("tls", ["coordinator-tls", "worker-tls"], ask, &variables);
    cluster.build();
    cluster.up(2, "");
    let _ = cluster.training("two workers have joined", |status| status.workers() == 2 && status.step() >= 5);
    is_hardened(&cluster);
    let coordinator = cluster.coordinator();
    // Each container has the keys it needs and no others.
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

    // A stranger in the cluster's network, with a certificate and without.
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
    assert!(after.step() + 10 >= before.step(), "it started from the beginning: {before:#?} {after:#?}");
    cluster.hurry();
    assert_eq!(cluster.ends(), 0, "{}", cluster.story());
    cluster.fetch(&place);
    is_that_of_nn_train(&place, options);
}

/// Fails unless the containers are hardened and healthy: an unprivileged user, a read-only file system, no capabilities, no
/// published ports, and a small image without a shell.
fn is_hardened(cluster: &Cluster) {
    let size = inspect(cluster.image())["Size"].as_u64().unwrap();
    println!("the image takes {} MB", size / 1_000_000);
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
        // The kernel's view is the one that counts.
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
