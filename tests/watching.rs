//! What programs and people are told of a run while it goes on: event files for TensorBoard, JSON Lines, and colours. The tests run the
//! real program, and read event files record by record; `foreign.rs` has them read by TensorBoard's own package.

#![allow(clippy::disallowed_methods)] // the clock, for limits on waiting

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Place, Ran, figure, linear_csv, promtool};
use serde_json::Value;

/// The data of all records of a file, whose checksums are not looked at here.
fn records(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let mut records = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let length = usize::try_from(u64::from_le_bytes(rest[..8].try_into().unwrap())).unwrap();
        records.push(rest[12..12 + length].to_vec());
        rest = &rest[16 + length..];
    }
    records
}

/// The event files in a folder, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The number of records in which a text is.
fn with(records: &[Vec<u8>], text: &str) -> usize {
    records.iter().filter(|record| record.windows(text.len()).any(|part| part == text.as_bytes())).count()
}

#[test]
fn events_are_written_and_change_nothing() {
    let place = Place::new();
    let plain = "train --quiet --epochs 4";
    let _ = place.nn(&format!("{plain} --eval-every 2 --out plain")).ok();
    let hash = place.summary("plain")["params_sha256"].clone();
    for (out, option, folder) in [
        ("own", "--eval-every 2 --tensorboard", "own/tensorboard"),
        ("other", "--eval-every 2 --tensorboard events/other", "events/other"),
        ("ema", "--eval-every 2 --tensorboard --ema 0.9 --noise-scale", "ema/tensorboard"),
        ("rounds", "--tensorboard --rounds 4", "rounds/tensorboard"),
    ] {
        let ran = place.nn(&format!("{plain} {option} --out {out}")).ok();
        assert_eq!(ran.stderr, "");
        if !["ema", "rounds"].contains(&out) {
            assert_eq!(place.summary(out)["params_sha256"], hash, "{out}");
        }
        let files = files(&place.at(folder));
        assert_eq!(files.len(), 1, "{files:?}");
        let records = records(&files[0]);
        assert_eq!(with(&records, "brain.Event:2"), 1);
        assert_eq!(with(&records, "loss/train"), 4, "{out}");
        let evaluations = if out == "rounds" { 4 } else { 2 };
        for tag in ["accuracy/test", "confusion"] {
            // The table of hyper-parameters names the former.
            let of_table = usize::from(tag.contains('/'));
            assert_eq!(with(&records, tag), evaluations + of_table, "{out} {tag}");
        }
        for tag in ["weights/layer2", "biases/layer1", "gradients/layer1", "gradient_norm/layer1"] {
            assert_eq!(with(&records, tag), 4, "{out} {tag}");
        }
        assert_eq!(with(&records, "_hparams_/session_end_info"), 1);
    }
}

#[test]
fn a_resumed_run_continues_its_curves_and_a_new_one_begins_them() {
    let place = Place::new();
    let run = "train --quiet --tensorboard --out run";
    let _ = place.nn(&format!("{run} --epochs 2 --checkpoint-steps 50")).ok();
    let _ = place.nn("train --quiet --resume --out run --epochs 3").ok();
    let files_of_run = files(&place.at("run/tensorboard"));
    assert_eq!(files_of_run.len(), 2, "the option belongs to the run");
    let of_file = |path: &PathBuf| with(&records(path), "loss/train");
    assert_eq!(files_of_run.iter().map(of_file).collect::<Vec<_>>(), [2, 1]);
    // Files of others stay.
    let _ = place.file("run/tensorboard/notes.txt", "mine");
    let _ = place.nn(&format!("{run} --epochs 1 --overwrite")).ok();
    let left = files(&place.at("run/tensorboard"));
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(of_file(&left[0]), 1);
    let _ = place.nn("train --quiet --epochs 1 --overwrite --out run").ok();
    assert_eq!(files(&place.at("run/tensorboard")).len(), 1);
}

#[test]
fn tables_have_curves_and_no_pictures() {
    let place = Place::new();
    let _ = place.file("data.csv", linear_csv(80));
    let _ = place.nn("train --quiet --data data.csv --epochs 2 --tensorboard --out run").ok();
    let records = records(&files(&place.at("run/tensorboard"))[0]);
    assert_eq!((with(&records, "r2/test"), with(&records, "confusion")), (2, 0));
}

#[test]
fn a_run_whose_events_cannot_be_written_ends_all_the_same() {
    let place = Place::new();
    let _ = place.file("taken", "a file");
    let ran = place.nn("train --quiet --epochs 2 --tensorboard taken --out run").ok();
    assert!(ran.stderr.contains("no more events for TensorBoard: cannot create one in taken"), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    assert_eq!(place.summary("run")["outcome"], "complete");
    place.nn("train --tensorboard= --out run2").refused(2, &["--tensorboard"]);
    let _ = place.file("bad.toml", "tensorboard = 3\n");
    place.nn("train --config bad.toml").refused(2, &["bad.toml", "tensorboard", "true, or a folder"]);
}

/// Fails unless a run whose events went nowhere ended as if nobody had wanted them, but for one warning with `part`.
#[cfg(unix)]
#[track_caller]
fn ended_without_events(place: &Place, ran: &Ran, out: &str, part: &str) {
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert_eq!(place.hash(out), place.hash("calm"), "{out}");
    assert_eq!(place.metrics(out).len(), 20, "{out}");
    let warning = "warning: no more events for TensorBoard: ";
    assert!(ran.stderr.starts_with(warning) && ran.stderr.contains(part), "{part}: {ran:#?}");
    assert!(ran.stderr.ends_with("training continues, and metrics.jsonl has the figures\n"), "{ran:#?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:#?}");
}

#[cfg(unix)]
#[test]
fn a_full_disk_ends_the_events_and_not_the_run() {
    let place = Place::new();
    let train = "train --quiet --log-steps 0 --epochs 20 --out";
    let _ = place.nn(&format!("{train} calm")).ok();
    // The limit on the size of files stands in for a full disk, which not everyone may make. All other files are smaller.
    let script = format!("ulimit -f 128; exec \"$NN\" {train} limited --tensorboard events");
    let ran: Ran = place.shell(&script).output().unwrap().into();
    ended_without_events(&place, &ran, "limited", "cannot write events/events.out.tfevents.");
    // What was written before can be read, up to a record that the limit cut.
    let written = files(&place.at("events"));
    assert!(written.len() == 1 && fs::metadata(&written[0]).unwrap().len() <= 128 * 512, "{written:?}");
    // Nobody can make a folder there.
    #[cfg(target_os = "linux")]
    {
        let ran = place.nn(&format!("{train} nowhere --tensorboard /proc/nn-events"));
        ended_without_events(&place, &ran, "nowhere", "cannot create one in /proc/nn-events: ");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn events_on_a_disk_that_is_full_or_read_only_end_well() {
    let place = Place::new();
    let train = "train --quiet --log-steps 0 --epochs 20 --out";
    let _ = place.nn(&format!("{train} calm")).ok();
    for folder in ["full", "locked"] {
        fs::create_dir(place.at(folder)).unwrap();
    }
    // The mount namespace ends with the process, so nothing stays mounted. Not every user may create one.
    for (mount, folder, part) in [
        ("size=64k", "full", "No space left on device"),
        ("ro", "locked", "cannot create one in locked: Read-only file system"),
    ] {
        let script = format!(
            "mount -t tmpfs -o {mount} none {folder} || exit 77; exec \"$NN\" {train} run-{folder} --tensorboard {folder}"
        );
        let mut inside =
            place.shell(&format!("exec unshare --user --map-root-user --mount sh -c '{script}'"));
        let ran: Ran = inside.output().unwrap().into();
        if !place.at(format!("run-{folder}")).exists() {
            println!("skipped: cannot mount a file system here: {}", ran.stderr);
            return;
        }
        ended_without_events(&place, &ran, &format!("run-{folder}"), part);
    }
}

#[test]
fn json_lines_tell_a_program_what_the_files_have() {
    let place = Place::new();
    let ran = place.nn("train --json --epochs 3 --max-seconds 100 --out run").ok();
    assert_eq!(ran.stderr, "");
    let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).cloned().collect::<Vec<_>>();
    let (first, last) = (&lines[0], &lines[lines.len() - 1]);
    assert_eq!((&first["kind"], &last["kind"]), (&"run".into(), &"end".into()));
    assert_eq!((&first["out"], &first["total_steps"]), (&"run".into(), &432.into()), "{first}");
    assert_eq!(first["layers"], serde_json::json!([64, 30, 10]));
    assert!(first["notes"].as_array().is_some_and(|notes| !notes.is_empty()), "{first}");
    assert_eq!(of("epoch"), place.metrics("run"));
    let mut summary = place.summary("run");
    summary["kind"] = "end".into();
    assert_eq!(*last, summary);
    let progress = of("progress");
    assert!(!progress.is_empty() && progress[0]["loss"].is_number(), "{progress:?}");
    // Without progress, and the run as it was.
    let ran = place.nn("train --json --quiet --resume --out run --epochs 4").ok();
    let kinds: Vec<Value> =
        ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].clone()).collect();
    assert_eq!(kinds, ["run", "event", "epoch", "end"]);
    assert!(ran.stdout.starts_with("{") && ran.stdout.contains("\"steps\":432"), "{ran:?}");
    // Other commands print their result.
    let swept = place.nn("sweep --json --seeds 2 --epochs 1 --out sweep").ok().json();
    assert_eq!(swept["runs"].as_array().map(Vec::len), Some(2), "{swept}");
    // A failure is told as ever.
    place.nn("train --json --data nowhere.csv").refused(3, &["nowhere.csv"]);
}

#[test]
fn colours_come_and_go_as_told() {
    let place = Place::new();
    let _ = place.nn("train --quiet --epochs 1 --out run").ok();
    let eval = "eval --model run/model.safetensors";
    let plain = place.nn(eval).ok().stdout;
    assert!(!plain.contains('\u{1b}'));
    let colored = place.nn(&format!("{eval} --color always")).ok().stdout;
    assert!(colored.contains("\u{1b}["), "{colored}");
    assert_eq!(place.nn(&format!("--color never {eval}")).ok().stdout, plain);
    place.nn(&format!("{eval} --color blue")).refused(2, &["--color", "always"]);
}

#[test]
fn runs_are_listed_and_compared() {
    let place = Place::new();
    let _ = place.nn("train --quiet --epochs 2 --out runs/a").ok();
    let _ = place.nn("train --quiet --epochs 3 --learning-rate 0.5 --out runs/b").ok();
    let listed = place.nn("runs list --json").ok().json();
    let runs = listed["runs"].as_array().unwrap();
    for (run, name) in runs.iter().zip(["a", "b"]) {
        let folder = format!("runs/{name}");
        assert_eq!((&run["folder"], &run["state"]), (&folder.clone().into(), &"complete".into()));
        assert_eq!(run["figures"], place.summary(&folder));
    }
    let text = place.nn("runs list").ok().stdout;
    assert!(text.contains("a    complete     2/2") && text.ends_with("2 runs\n"), "{text}");
    let compared = place.nn("runs compare runs/a runs/b --json").ok().json();
    assert_eq!(compared["differing_options"], serde_json::json!(["epochs", "learning-rate"]));
    let text = place.nn("runs compare runs").ok().stdout;
    let row = |name: &str| text.lines().find(|line| line.starts_with(name)).map(str::split_whitespace);
    assert!(row("learning-rate").unwrap().eq(["learning-rate", "3.0", "0.5"]), "{text}");
    let hashes = ["runs/a", "runs/b"].map(|run| place.hash(run)[..12].to_owned());
    assert!(row("weights").unwrap().skip(1).eq(hashes.iter()), "{text}");
    // A run that goes on, with half a line in its log, and one that was killed.
    let mut going = place
        .command("train --quiet --epochs 1000000 --max-seconds 100000 --out runs/c".split_whitespace())
        .spawn()
        .map(common::Running)
        .unwrap();
    let state = || {
        let listed = place.nn("runs list runs/c --json");
        (listed.code == Some(0)).then(|| listed.json()["runs"][0]["state"].as_str().unwrap().to_owned())
    };
    let from = std::time::Instant::now();
    while state().as_deref() != Some("running") {
        assert!(from.elapsed().as_secs() < 60, "{:?}", state());
    }
    going.0.kill().unwrap();
    going.0.wait().unwrap();
    assert_eq!(state().as_deref(), Some("stopped"));
    place.nn("runs list nowhere").refused(1, &["nowhere", "--out"]);
    let _ = place.file("empty/file.txt", "text");
    place.nn("runs compare empty").refused(1, &["no run in empty"]);
    place.nn("runs compare").refused(2, &["DIR"]);
}

/// The answer to a request for `path`: its status line and its text.
fn asked(address: &str, path: &str, host: &str) -> (String, String) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), text.to_owned())
}

#[test]
fn prometheus_reads_the_figures_of_a_run() {
    let place = Place::new();
    // A port that is free now.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let run = format!("train --epochs 1000000 --out run --metrics-listen {address}");
    let mut command = place.command(run.split_whitespace());
    let mut going = command.stdout(std::process::Stdio::null()).spawn().map(common::Running).unwrap();
    let from = std::time::Instant::now();
    let mut steps = Vec::new();
    while steps.len() < 3 {
        assert!(from.elapsed().as_secs() < 60 && going.0.try_wait().unwrap().is_none(), "{steps:?}");
        if std::net::TcpStream::connect(&address).is_err() {
            continue;
        }
        let (status, text) = asked(&address, "/metrics", &address);
        assert_eq!(status, "HTTP/1.1 200 OK");
        if let (Some(now), Some(loss)) = (figure(&text, "nn_steps_total"), figure(&text, "nn_batch_loss")) {
            assert!(
                loss.is_finite() && figure(&text, "nn_step_duration_seconds_count") == Some(now),
                "{text}"
            );
            steps.push(now);
        }
        if let Some(accuracy) = figure(&text, "nn_accuracy_ratio{set=\"test\"}") {
            assert!((0.0..=1.0).contains(&accuracy));
        }
    }
    assert!(steps.is_sorted(), "{steps:?}");
    promtool(&asked(&address, "/metrics", &address).1);
    // Another site's name, a path that is not there, and a second run on the same port.
    assert!(asked(&address, "/metrics", "evil.example").0.contains("403"));
    assert!(asked(&address, "/nothing", "localhost").0.contains("404"));
    place.nn(&run.replace("--out run", "--out other")).refused(4, &["cannot listen", &address]);
    assert!(!place.at("other").exists());
    going.0.kill().unwrap();
    let all = "train --epochs 1 --metrics-listen 0.0.0.0:0 --out open";
    place.nn(all).refused(2, &["--metrics-listen", "--metrics-insecure"]);
    assert!(
        place.nn(&format!("{all} --metrics-insecure")).ok().stderr.contains("--metrics-insecure: anyone")
    );
    place.nn("train --metrics-insecure").refused(2, &["--metrics-listen"]);
    // As a variable it may be meant for another program.
    let mut command = place.command("train --quiet --epochs 1 --out variable".split_whitespace());
    let ran: Ran = command.env("NN_METRICS_INSECURE", "1").output().unwrap().into();
    assert_eq!(ran.ok().stderr, "");
    place.nn("train --metrics-listen nonsense").refused(2, &["--metrics-listen"]);
}

#[test]
fn a_report_is_one_page_with_the_figures_of_the_runs() {
    let place = Place::new();
    let _ = place.nn("train --quiet --epochs 3 --out runs/a --validation-fraction 0.1").ok();
    let _ = place.nn("train --quiet --epochs 2 --out runs/b --learning-rate 0.5").ok();
    let _ = place.nn("report runs/a --out one.html").ok();
    let page = fs::read_to_string(place.at("one.html")).unwrap();
    let summary = place.summary("runs/a");
    for part in [
        summary["params_sha256"].as_str().unwrap(),
        &format!("{:.2} %", summary["test_accuracy"].as_f64().unwrap() * 100.0),
        "64–30–10",
        "nn train --config runs/a/run.toml",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // Train, validation and test, in one chart for each figure; and nothing from elsewhere, nor any script.
    let charts = page.split("<section").next().unwrap();
    assert_eq!(charts.matches("<figure>").count(), 4, "loss, accuracy, learning rate, samples a second");
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"));
    let ran = place.nn("report runs --out both.html").ok();
    assert_eq!(ran.stdout, "2 runs in both.html\n");
    let page = fs::read_to_string(place.at("both.html")).unwrap();
    assert!(page.contains("<th>--learning-rate</th><td>3.0</td><td>0.5</td>"), "{page}");
    // A name that is no HTML.
    fs::rename(place.at("runs/b"), place.at("runs/<b>&")).unwrap();
    let _ = place.nn("report runs --out odd.html").ok();
    let page = fs::read_to_string(place.at("odd.html")).unwrap();
    assert!(page.contains("runs/&lt;b&gt;&amp;") && !page.contains("<b>"));
    // The seed of a private run, from which its noise follows, stays where it is.
    let private = "train --quiet --epochs 1 --dp-noise 1 --dp-clip 1 --seed 987654321 --out private";
    let _ = place.nn(private).ok();
    let _ = place.nn("report private --out private.html").ok();
    let page = fs::read_to_string(place.at("private.html")).unwrap();
    assert!(page.contains("ε = ") && page.contains("<td>secret</td>") && !page.contains("987654321"));
    assert!(page.contains("does not show its samples") && !page.contains("alt=\"test sample"), "{page}");
    assert!(!place.nn("runs list private --json").ok().stdout.contains("987654321"));
    place.nn("report nowhere").refused(1, &["nowhere"]);
    place.nn("report runs --out one.html/page.html").refused(1, &["one.html/page.html", "--out"]);
}

/// A page of `nn report`.
fn page(place: &Place, command: &str) -> String {
    let _ = place.nn(&format!("report {command} --out page.html")).ok();
    fs::read_to_string(place.at("page.html")).unwrap()
}

#[test]
fn a_report_shows_what_a_network_confuses() {
    let place = Place::new();
    let _ = place.nn("train --quiet --epochs 2 --out run").ok();
    let html = page(&place, "run");
    let eval = place.nn("eval --json --wrong 24 --model run/model.safetensors").ok().json();
    let report = &eval["classification"];
    let (samples, correct) = (report["samples"].as_u64().unwrap(), report["correct"].as_u64().unwrap());
    assert!(html.contains(&format!("{correct} are right, {} wrong", samples - correct)), "{html}");
    // The matrix, cell by cell.
    let matrix = html.split("class=\"confusion\"").nth(1).unwrap().split("</table>").next().unwrap();
    let cells: Vec<u64> = matrix
        .split("<td class=")
        .skip(1)
        .map(|cell| cell.split(['>', '<']).nth(1).unwrap().parse().unwrap_or(0))
        .collect();
    let want: Vec<u64> = report["confusion"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap())
        .map(|n| n.as_u64().unwrap())
        .collect();
    assert_eq!(cells, want);
    let recall = format!("{:.2} %", report["classes"][3]["recall"].as_f64().unwrap() * 100.0);
    assert!(html.contains(&recall), "{recall}");
    // The same mistakes in the same order, drawn; a tile for each of 30 units, and their scale.
    let drawn = html
        .split("alt=\"test sample ")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().parse::<u64>().unwrap());
    let wrong: Vec<u64> = eval["confidently_wrong"]
        .as_array()
        .unwrap()
        .iter()
        .map(|miss| miss["sample"].as_u64().unwrap())
        .collect();
    assert!(drawn.eq(wrong.iter().copied()) && !wrong.is_empty());
    assert_eq!(html.matches("alt=\"weights of unit").count(), 30);
    assert_eq!(html.matches("src=\"data:image/png;base64,").count(), wrong.len() + 31);
    assert!(html.contains("img-src data:") && !html.contains(" style=\"") && !html.contains("<script"));
    // Without the network the page is written all the same.
    fs::remove_file(place.at("run/model.safetensors")).unwrap();
    fs::remove_dir_all(place.at("run/checkpoints")).unwrap();
    assert!(page(&place, "run").contains("there is no network to look at"));
}

#[test]
fn a_report_says_why_it_lacks_the_test_samples() {
    let place = Place::new();
    let _ = place.file("data.csv", linear_csv(80));
    let _ = place.nn("train --quiet --data data.csv --epochs 2 --out run").ok();
    let (errors, lacks) = ("Errors, in the units of the targets", "There is no confusion matrix");
    let html = page(&place, "run");
    assert!(html.contains(errors) && !html.contains(lacks), "{html}");
    fs::rename(place.at("data.csv"), place.at("moved.csv")).unwrap();
    let html = page(&place, "run");
    assert!(html.contains(lacks) && html.contains("data.csv") && html.contains("add --data DATA"), "{html}");
    assert!(page(&place, "run --data moved.csv").contains(errors));
    // Other samples are not taken for the run's.
    let _ = place.file("data.csv", linear_csv(81));
    let html = page(&place, "run");
    assert!(html.contains("is not what it was") && !html.contains(errors), "{html}");
    // Nothing is fetched, and nothing waits.
    let mut report = place.command("report run --data mnist --out page.html".split_whitespace());
    // The tester may have MNIST.
    assert!(report.env("NN_CACHE_DIR", place.at("cache")).output().unwrap().status.success());
    let html = fs::read_to_string(place.at("page.html")).unwrap();
    assert!(html.contains("nn fetch mnist") && !html.contains(errors), "{html}");
    place.nn("report run --data=").refused(2, &["--data"]);
}

#[test]
fn a_report_shows_a_sweep_and_its_best_by_validation() {
    let place = Place::new();
    let _ = place.file("sweep.toml", "validation-fraction = 0.2\nepochs = 2\n[grid]\nlearning-rate = [0.1, 3.0]\nactivation = ['sigmoid', 'relu']\n");
    let json = place.nn("sweep --json --seeds 2 --config sweep.toml --out sweep").ok().json();
    let _ = place.nn("train --quiet --epochs 1 --out alone").ok();
    let html = page(&place, "sweep alone");
    let best = &json["best"];
    let option = |name: &str| match &best["options"][name] {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let words = format!(
        "Best by validation:</strong> --activation {} --learning-rate {}",
        option("activation"),
        option("learning-rate")
    );
    assert!(html.contains(&words), "{words}");
    let percent = |part: &Value| format!("{:.2} %", part.as_f64().unwrap() * 100.0);
    assert!(html.contains(&format!(
        "★ 1</th><td>{} ± {}</td>",
        percent(&best["mean"]),
        percent(&best["standard_deviation"])
    )));
    // A line for each trial, those of the best apart from the others.
    let drawing = html.split("Parallel coordinates").nth(1).unwrap().split("</svg>").next().unwrap();
    assert_eq!(
        (drawing.matches("class=\"trial best\"").count(), drawing.matches("class=\"trial").count()),
        (2, 8)
    );
    let curves =
        html.split("Learning curves").nth(1).unwrap().split("The effect of each option").next().unwrap();
    assert_eq!(curves.matches("<title>").count(), 16, "loss and accuracy");
    // The mean over the four trials of a value.
    let runs = json["runs"].as_array().unwrap();
    let of_rate = runs
        .iter()
        .filter(|run| run["options"]["learning-rate"] == 3.0)
        .map(|run| run["validation_accuracy"].as_f64().unwrap());
    let mean = format!("<tr><th>3.0</th><td>{:.2} %</td>", of_rate.sum::<f64>() / 4.0 * 100.0);
    assert!(html.contains(&mean) && html.contains("the standard deviation over seeds"), "{mean}");
    // Of its runs only the best has a card, and other runs are as ever.
    assert_eq!(html.matches("<h2>Model card").count(), 2);
    assert!(html.contains("Model card: ") && !html.contains(" style=\"") && !html.contains("<script"));
    // A sweep that was killed, one that has only begun, one by test, and a file that is cut off.
    let text = fs::read_to_string(place.at("sweep/sweep.json")).unwrap();
    let mut killed = json.clone();
    killed["outcome"] = "running".into();
    for run in killed["runs"].as_array_mut().unwrap() {
        run["state"] = "running".into();
    }
    let _ = place.file("begun/sweep.json", killed.to_string());
    let html = page(&place, "begun");
    assert!(html.contains("8 trials of 4 configurations: stopped. The sweep is interrupted"), "{html}");
    assert!(html.contains("No configuration is done yet") && !html.contains('★'));
    let _ = place.file("sweep/sweep.json", text.replace("validation_", "test_"));
    let html = page(&place, "sweep");
    assert!(html.contains("This sweep has no validation samples") && !html.contains('★'), "{html}");
    let _ = place.file("sweep/sweep.json", &text[..text.len() / 2]);
    let html = page(&place, "sweep");
    assert!(html.contains("that cannot be shown") && html.matches("<h2>Model card").count() == 8, "{html}");
}
