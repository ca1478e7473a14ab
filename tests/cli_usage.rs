//! What `nn` says of wrong usage, driven as a user does: through the real binary.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs `nn` in `folder`.
fn nn_in(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nn")).args(arguments).current_dir(folder).output().unwrap()
}

/// Runs `nn` where it cannot do harm: usage errors come before anything is written.
fn nn(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let output = nn_in(folder.path(), arguments);
    if output.status.code() == Some(2) {
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{arguments:?} left something behind");
    }
    output
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A text without its line breaks, which depend on the width of the terminal.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What is on standard error where the exit code is 2; nothing may be on standard output.
#[track_caller]
fn usage_error(output: &Output) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.starts_with("error: "), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(output.stdout.is_empty(), "{}", stdout(output));
    stderr
}

#[test]
fn misspelt_flags_commands_and_names_get_a_suggestion() {
    for (arguments, meant) in [
        (&["train", "--learnig-rate", "1"][..], "--learning-rate"),
        (&["train", "--epoch", "1"], "--epochs"),
        (&["trian"], "train"),
        (&["train", "--activation", "sigmiod"], "sigmoid"),
        (&["train", "--optimizer", "adma"], "adam"),
        (&["fetch", "minst"], "mnist"),
        (&["eval", "--modle", "x"], "--model"),
    ] {
        let message = usage_error(&nn(arguments));
        assert!(message.contains("similar") && message.contains(meant), "{arguments:?} gave {message}");
    }
}

#[test]
fn bad_values_of_flags_are_refused() {
    for (arguments, part) in [
        (&["train", "--epochs", "0"][..], "--epochs must be at least 1"),
        (&["train", "--epochs", "-1"], "'--epochs <N>': it must not be negative"),
        (&["train", "--epochs", "3.5"], "expected a whole number"),
        (&["train", "--epochs", "many"], "expected a whole number"),
        (&["train", "--epochs", "99999999999999999999"], "it is too large"),
        (&["train", "--epochs"], "a value is required"),
        (&["train", "--hidden", "0"], "--hidden gives layer 1 a width of 0"),
        (&["train", "--hidden", "30,,20"], "expected widths such as 30"),
        (&["train", "--hidden", "-30"], "expected widths such as 30"),
        (&["train", "--hidden", "5000000"], "at most 1000000"),
        (&["train", "--batch-size", "0"], "--batch-size must be at least 1"),
        (&["train", "--shard-size", "64"], "--shard-size must be at most the size of a mini-batch, 10"),
        (&["train", "--learning-rate", "0"], "--learning-rate must be a number above 0"),
        (&["train", "--learning-rate", "-0.5"], "not -0.5"),
        (&["train", "--learning-rate", "-1e-3"], "not -0.001"),
        (&["train", "--learning-rate", "NaN"], "not NaN"),
        (&["train", "--learning-rate", "inf"], "not inf"),
        (&["train", "--learning-rate", "fast"], "expected a number"),
        (&["train", "--momentum", "0.9"], "--momentum has no effect with --optimizer sgd"),
        (&["train", "--optimizer", "nesterov", "--momentum", "1"], "at least 0 and below 1"),
        (&["train", "--threads", "0"], "--threads must be at least 1 and at most 4096"),
        (&["train", "--threads", "100000"], "not 100000"),
        (&["train", "--test-fraction", "1"], "--test-fraction must be a number above 0 and below 1"),
        (&["train", "--step-factor", "0.5"], "--step-factor has no effect with --schedule constant"),
        (&["train", "--cost", "cross-entropy", "--output", "linear"], "--output softmax"),
        (&["train", "--data", ""], "it is empty"),
        (&["train", "--resume=perhaps"], "perhaps"),
        (&["train", "stray"], "stray"),
        (&["eval"], "--model <FILE>"),
        (&["eval", "--model", "m", "--data", "digits", "--threads", "0"], "--threads must be at least 1"),
        (&["predict", "--model", "m"], "<FILE>"),
        (&["predict", "--model", "m", "--data", "digits", "x.png"], "cannot be used with"),
        (&["predict", "--model", "m", "--count", "3", "x.png"], "--data"),
        (&["predict", "--model", "m", "--data", "digits", "--count", "0"], "--count must be at least 1"),
        (&["fetch", "imagenet"], "mnist, fashion-mnist"),
        (&["completions", "csh"], "bash"),
        (&["bench", "--layers", "10"], "--layers needs an input and an output layer"),
        (&["bench", "--layers", "10,0,10"], "--layers gives layer 2 a width of 0"),
        (
            &["bench", "--batch-size", "4", "--shard-size", "5"],
            "--shard-size must be at least 1 and at most 4",
        ),
    ] {
        let message = usage_error(&nn(arguments));
        assert!(message.contains(part), "{arguments:?} gave {message}, which lacks {part:?}");
    }
}

#[test]
fn nothing_at_all_shows_the_help_and_is_wrong_usage() {
    let output = nn(&[]);
    assert_eq!(output.status.code(), Some(2));
    let help = String::from_utf8(output.stderr).unwrap();
    assert!(help.contains("Usage: nn <COMMAND>") && help.contains("train"), "{help}");
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [&["--help"][..], &["-h"], &["--version"], &["train", "--help"], &["help", "eval"]] {
        let output = nn(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{arguments:?}");
    }
    let help = stdout(&nn(&["--help"]));
    assert!(!help.contains("bench"), "{help}");
    assert!(words(&help).contains("130 interrupted"), "{help}");
}

#[test]
fn the_help_of_train_is_grouped_and_shows_defaults() {
    let help = stdout(&nn(&["train", "--help"]));
    let words = words(&help);
    for heading in ["Data:", "Network:", "Training:", "Optimizer:", "Schedule:", "Run:", "Configuration:"] {
        assert!(help.lines().any(|line| line == heading), "{heading} is missing:\n{help}");
    }
    for part in [
        "--data <DATA>",
        "[default: digits]",
        "[default: 30]",
        "[possible values: sigmoid, relu, tanh]",
        "[default: 2: an eighth of the batch",
        "[default: 3.0; cross-entropy 0.5;",
        "[default: scaled; he for relu]",
        "[default: all that the machine has]",
        "[default: runs/digits, after the name of the data]",
    ] {
        assert!(words.contains(part), "{part:?} is missing:\n{help}");
    }
}

#[test]
fn the_help_of_the_cluster_is_grouped_and_shows_defaults() {
    let coord = (
        env!("CARGO_BIN_EXE_nn-coord"),
        &["Cluster:", "Data:", "Network:", "Training:", "Run:"][..],
        &["--listen <ADDR>", "[default: 1]", "[default: 6]", "[default: digits]", "[default: 30]"][..],
    );
    let worker = (
        env!("CARGO_BIN_EXE_nn-worker"),
        &["Coordinator:", "Data:", "Run:"][..],
        &[
            "--coordinator <URL>",
            "--bind-to <INTERFACE|IP>",
            "[default: all that the machine has]",
            "[default: auto]",
        ][..],
    );
    for (program, headings, parts) in [coord, worker] {
        let output = Command::new(program).arg("--help").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let help = stdout(&output);
        for heading in headings {
            assert!(help.lines().any(|line| line == *heading), "{heading} is missing:\n{help}");
        }
        for part in [parts, &["130 interrupted"]].concat() {
            assert!(words(&help).contains(part), "{part:?} is missing:\n{help}");
        }
    }
}

#[test]
fn a_bad_file_is_refused_with_its_line_and_a_suggestion() {
    let folder = tempfile::tempdir().unwrap();
    for (text, parts) in [
        (
            &b"epochs = 3\nlearnig-rate = 1"[..],
            &["run.toml:2: there is no option \"learnig-rate\"", "did you mean \"learning-rate\"?"][..],
        ),
        (b"\n\nepochs = 'three'", &["run.toml:3: epochs must be a whole number", "the text \"three\""]),
        (b"# rate\nlearning-rate = -1", &["run.toml:2: learning-rate must be a number above 0"]),
        (b"activation = 'sigmiod'", &["run.toml:1: activation must be", "did you mean \"sigmoid\"?"]),
        (b"epochs =", &["run.toml:1: this is not TOML"]),
        (b"epochs = 3\ndata = '\xff\xfe'", &["run.toml:2: the configuration file is not UTF-8"]),
        (&vec![b'#'; (1 << 20) + 1], &["run.toml is larger than 1 MiB"]),
    ] {
        fs::write(folder.path().join("run.toml"), text).unwrap();
        let message = usage_error(&nn_in(folder.path(), &["train", "--config", "run.toml"]));
        for part in parts {
            assert!(message.contains(part), "{message} lacks {part:?}");
        }
    }
    let message = usage_error(&nn_in(folder.path(), &["train", "--config", "absent.toml"]));
    assert!(message.contains("absent.toml") && message.contains("--print-config"), "{message}");
    let message = usage_error(&nn_in(folder.path(), &["train", "--config", "."]));
    assert!(message.contains("is a folder"), "{message}");
}

#[test]
fn a_printed_configuration_runs_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let print = |arguments: &[&str]| {
        let output = nn_in(folder.path(), &[&["train", "--print-config"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        stdout(&output)
    };
    for arguments in [
        &[][..],
        &["--hidden", "128,64", "--activation", "relu", "--cost", "cross-entropy", "--optimizer", "adamw"],
        &["--hidden", "none", "--schedule", "cosine", "--warmup-steps", "9", "--quiet", "--resume"],
        &["--data", "some data.csv", "--label-column", "-1", "--test-fraction", "0.25", "--threads", "7"],
    ] {
        let printed = print(arguments);
        fs::write(folder.path().join("run.toml"), &printed).unwrap();
        assert_eq!(print(&["--config", "run.toml"]), printed, "{arguments:?}");
    }
}

#[test]
fn a_configuration_can_come_from_standard_input() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_nn"))
        .args(["train", "--config", "-", "--print-config"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"epochs = 4").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(stdout(&output).contains("\nepochs = 4\n"), "{output:?}");
}

#[test]
fn flags_win_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("run.toml"),
        "epochs = 5\nbatch-size = 20\nquiet = true\noptimizer = 'momentum'\nmomentum = 0.5",
    )
    .unwrap();
    let flags = ["--epochs", "7", "--quiet=false", "--optimizer", "sgd"];
    let output =
        nn_in(folder.path(), &[&["train", "--print-config", "--config", "run.toml"], &flags[..]].concat());
    let printed = stdout(&output);
    for line in ["epochs = 7", "batch-size = 20", "quiet = false", "optimizer = \"sgd\"", "# momentum = 0.9"]
    {
        assert!(printed.lines().any(|printed| printed == line), "{line} is missing:\n{printed}");
    }
}

#[test]
fn completions_know_the_flags() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = nn(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(stdout(&output).contains("learning-rate"), "{shell}");
    }
}

#[test]
fn the_manual_has_a_page_for_every_command_that_is_not_hidden() {
    let folder = tempfile::tempdir().unwrap();
    assert!(stdout(&nn(&["man"])).contains(".TH nn 1"));
    let output = nn_in(folder.path(), &["man", "--out", "pages/here"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut pages: Vec<String> = fs::read_dir(folder.path().join("pages/here"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort_unstable();
    let expected = [
        "nn-certs-coordinator.1",
        "nn-certs-init.1",
        "nn-certs-show.1",
        "nn-certs-token.1",
        "nn-certs-worker.1",
        "nn-certs.1",
        "nn-completions.1",
        "nn-coord.1",
        "nn-doctor.1",
        "nn-eval.1",
        "nn-fetch.1",
        "nn-man.1",
        "nn-predict.1",
        "nn-replay.1",
        "nn-status.1",
        "nn-train.1",
        "nn-worker.1",
        "nn.1",
    ];
    assert_eq!(pages, expected);
    let train = fs::read_to_string(folder.path().join("pages/here/nn-train.1")).unwrap();
    assert!(train.contains("nn\\-train") || train.contains("nn-train"), "{train}");
    assert!(train.contains("[default: digits]"), "{train}");
    let coord = fs::read_to_string(folder.path().join("pages/here/nn-coord.1")).unwrap();
    for part in [".TH nn-coord 1", "min\\-workers", "learning\\-rate", "[default: digits]"] {
        assert!(coord.contains(part), "{part} is missing: {coord}");
    }

    fs::write(folder.path().join("file"), "").unwrap();
    let output = nn_in(folder.path(), &["man", "--out", "file"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn a_closed_pipe_is_no_panic() {
    for arguments in
        [&["completions", "zsh"][..], &["man"], &["train", "--print-config"], &["train", "--help"]]
    {
        let mut child = Command::new(env!("CARGO_BIN_EXE_nn"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take()); // as `| head -0` does
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}
