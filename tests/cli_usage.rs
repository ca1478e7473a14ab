//! The command lines of the programs and their environment, driven as a user does: through the real binaries.

mod common;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::plain;

const NN: &str = env!("CARGO_BIN_EXE_nn");
const NN_COORD: &str = env!("CARGO_BIN_EXE_nn-coord");
const NN_WORKER: &str = env!("CARGO_BIN_EXE_nn-worker");

/// Runs `nn` in `folder`.
fn nn_in(folder: &Path, arguments: &[&str]) -> Output {
    plain(&mut Command::new(NN)).args(arguments).current_dir(folder).output().unwrap()
}

/// Runs a program with environment variables, where it cannot do harm.
fn with_variables(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    plain(&mut command).args(arguments).envs(variables.iter().copied());
    command.current_dir(folder.path()).output().unwrap()
}

/// Whether a printed configuration has a line, whatever it says of the origin.
fn sets(printed: &str, line: &str) -> bool {
    printed.lines().any(|printed| printed.split("  # ").next() == Some(line))
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
        (&["train", "--fold", "6/5"], "--fold must be one of 2 to 1000 parts"),
        (&["train", "--fold", "2"], "expected a part and the number of parts, such as 2/5"),
        (&["sweep"], "there is nothing to sweep over"),
        (&["sweep", "--seeds", "2", "--threads", "0"], "--threads must be at least 1 and at most 4096"),
        (&["sweep", "--seeds", "0"], "--seeds must be at least 1"),
        (&["sweep", "--seeds", "2", "--token-file", "t"], "no effect without --listen"),
        (
            &["sweep", "--seeds", "2", "--listen", "127.0.0.1:0", "--parallel", "2"],
            "--parallel has no effect with --listen",
        ),
        (
            &["sweep", "--seeds", "2", "--listen", "127.0.0.1:0", "--max-seconds", "2"],
            "max-seconds has no effect on workers",
        ),
        (&["sweep", "--seeds", "2", "--resume", "--overwrite"], "contradict each other"),
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
    assert!(help.contains("Usage: nn [OPTIONS] <COMMAND>") && help.contains("train"), "{help}");
}

/// One file can be all programs: under the name of another one, `nn` is that one.
#[test]
fn under_another_name_it_is_that_program() {
    let folder = tempfile::tempdir().unwrap();
    for program in [NN_COORD, NN_WORKER] {
        let link = folder.path().join(Path::new(program).file_name().unwrap());
        if fs::hard_link(NN, &link).is_err() {
            fs::copy(NN, &link).unwrap();
        }
        for arguments in [&["--version"][..], &["--help"], &["--no-such-flag"], &[]] {
            let [own, linked] = [Path::new(program), &link].map(|program| {
                Command::new(program).args(arguments).env("NN_COORDINATOR", "").output().unwrap()
            });
            assert_eq!((own.status, &own.stdout), (linked.status, &linked.stdout), "{arguments:?}");
            assert_eq!(own.stderr, linked.stderr, "{arguments:?}");
        }
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [&["--help"][..], &["-h"], &["--version"], &["train", "--help"], &["help", "eval"]] {
        let output = nn(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{arguments:?}");
    }
    let help = stdout(&nn(&["--help"]));
    assert!(help.contains("Measure training steps on synthetic data"), "{help}");
    assert!(words(&help).contains("130 interrupted"), "{help}");
}

#[test]
fn the_help_of_train_is_grouped_and_shows_defaults() {
    let help = stdout(&nn(&["train", "--help"]));
    let words = words(&help);
    for heading in [
        "Data:",
        "Network:",
        "Training:",
        "Optimizer:",
        "Regularisation:",
        "Schedule:",
        "Run:",
        "Configuration:",
    ] {
        assert!(help.lines().any(|line| line == heading), "{heading} is missing:\n{help}");
    }
    for part in [
        "--data <DATA>",
        "[default: digits]",
        "[default: 30; auto: 100 for small tables, else 128,64]",
        "sigmoid, relu, tanh, leaky-relu, gelu, silu [default: sigmoid; auto: relu]",
        "before their activation: none, or layer. With layer, ",
        "only with --optimizer momentum or nesterov [default: 0.9]",
        "[default: 2: an eighth of the batch",
        "[default: 3.0; cross-entropy 0.5;",
        "[default: scaled; he for relu and its relatives]",
        "[default: all of the machine's]",
        "[default: runs/digits, named after the data]",
        "NN_BATCH_SIZE for --batch-size",
        "An empty variable counts as not set.",
    ] {
        assert!(words.contains(part), "{part:?} is missing:\n{help}");
    }
}

#[test]
fn the_help_of_the_cluster_is_grouped_and_shows_defaults() {
    let coord = (
        NN_COORD,
        &["Cluster:", "Data:", "Network:", "Training:", "Run:"][..],
        &["--listen <ADDR>", "[default: 1]", "[default: 6]", "[default: digits]", "[default: 30; auto:"][..],
    );
    let worker = (
        NN_WORKER,
        &["Coordinator:", "Data:", "Run:"][..],
        &[
            "--coordinator <URL>",
            "--bind-to <INTERFACE|IP>",
            "[default: all of the machine's]",
            "[default: auto]",
            "NN_CACHE_DIR for --cache-dir",
        ][..],
    );
    for (program, headings, parts) in [coord, worker] {
        let output = plain(&mut Command::new(program)).arg("--help").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let help = stdout(&output);
        for heading in headings {
            assert!(help.lines().any(|line| line == *heading), "{heading} is missing:\n{help}");
        }
        for part in [parts, &["130 interrupted", "An empty variable counts as not set."]].concat() {
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
        let again = print(&["--config", "run.toml"]);
        let values = |text: &str| {
            let lines = text.lines().map(|line| line.split("  # ").next().unwrap().to_owned());
            lines.collect::<Vec<_>>()
        };
        assert_eq!(values(&again), values(&printed), "{arguments:?}");
        assert!(again.contains("  # from run.toml:"), "{again}");
    }
}

#[test]
fn a_configuration_can_come_from_standard_input() {
    let mut child = plain(&mut Command::new(NN))
        .args(["train", "--config", "-", "--print-config"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"epochs = 4").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(stdout(&output).contains("\nepochs = 4  # from standard input:1\n"), "{output:?}");
}

#[test]
fn flags_override_the_file() {
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
        assert!(sets(&printed, line), "{line} is missing:\n{printed}");
    }
}

#[test]
fn variables_override_the_file_and_flags_override_variables() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("run.toml"), "epochs = 5\nbatch-size = 20\nseed = 9").unwrap();
    let mut command = Command::new(NN);
    plain(&mut command).args(["train", "--print-config", "--epochs", "7"]);
    for (name, value) in [
        ("NN_CONFIG", "run.toml"),
        ("NN_EPOCHS", "6"),
        ("NN_BATCH_SIZE", "30"),
        ("NN_HIDDEN", "20,10"),
        ("NN_QUIET", "1"),
        ("NN_COST", ""),               // docker-compose passes on what is not set
        ("NN_LISTEN", "0.0.0.0:7654"), // nn-coord's
        ("NN_NAME", "box"),            // nn-worker's
        ("NN_ISA", "portable"),
    ] {
        command.env(name, value);
    }
    let output = command.current_dir(folder.path()).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &[][..]), "{output:?}");
    let printed = stdout(&output);
    for line in [
        "epochs = 7  # from --epochs",
        "batch-size = 30  # from NN_BATCH_SIZE",
        "seed = 9  # from run.toml:3",
        "hidden = [20, 10]  # from NN_HIDDEN",
        "quiet = true  # from NN_QUIET",
        "cost = \"mse\"  # default",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line} is missing:\n{printed}");
    }
}

#[test]
fn a_bad_variable_is_named() {
    for (program, arguments, variable, part) in [
        (NN, &["train"][..], ("NN_EPOCHS", "many"), "NN_EPOCHS must be a whole number"),
        (NN, &["train"], ("NN_EPOCHS", "0"), "NN_EPOCHS must be at least 1"),
        (NN, &["train"], ("NN_OPTIMIZER", "adma"), "did you mean \"adam\"?"),
        (NN, &["train"], ("NN_MOMENTUM", "0.5"), "NN_MOMENTUM has no effect with --optimizer sgd"),
        (NN, &["train"], ("NN_RESUME", "perhaps"), "NN_RESUME must be true or false"),
        (NN, &["train"], ("NN_CONFIG", "absent.toml"), "absent.toml"),
        (
            NN_COORD,
            &["--listen", "127.0.0.1:0"],
            ("NN_MIN_WORKERS", "0"),
            "NN_MIN_WORKERS must be at least 1",
        ),
        (NN_COORD, &["--listen", "127.0.0.1:0"], ("NN_TLS_CERT", "c.pem"), "NN_TLS_CERT needs --tls-key"),
        (NN_WORKER, &["--coordinator", "x"], ("NN_THREADS", "0"), "NN_THREADS must be at least 1"),
        (NN_WORKER, &[], ("NN_COORDINATOR", "ftp://x"), "NN_COORDINATOR"),
    ] {
        let message = usage_error(&with_variables(program, arguments, &[variable]));
        assert!(message.contains(part), "{variable:?} gave {message}, which lacks {part:?}");
    }
}

#[test]
fn a_variable_that_is_nearly_an_option_gets_a_warning() {
    for (program, arguments, variable, meant) in [
        (NN, &["train", "--print-config"][..], "NN_EPOCH", "NN_EPOCHS"),
        (NN_COORD, &["--print-config", "--listen", "127.0.0.1:0"], "NN_MIN_WORKER", "NN_MIN_WORKERS"),
    ] {
        let output = with_variables(program, arguments, &[(variable, "3"), ("NN_COORD_OPTIONS", "")]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let warning = format!("warning: {variable} is not an option: did you mean {meant}?\n");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), warning);
    }
}

#[test]
fn the_programs_of_the_cluster_take_variables() {
    let output = with_variables(
        NN_COORD,
        &["--print-config"],
        &[("NN_LISTEN", "127.0.0.1:0"), ("NN_EPOCHS", "3"), ("NN_OUT", "there")],
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let printed = stdout(&output);
    assert!(sets(&printed, "epochs = 3") && sets(&printed, "out = \"there\""), "{printed}");
    assert!(printed.contains("# listen = \"127.0.0.1:0\"  # from NN_LISTEN\n"), "{printed}");
    assert!(printed.contains("# min-workers = 1  # default\n"), "{printed}");
    let output = with_variables(NN_COORD, &["--print-config"], &[("NN_LISTEN", "")]);
    assert!(usage_error(&output).contains("--listen <ADDR>"), "{output:?}");

    // Nobody listens there: the address is read, and dialled once.
    let dialled = [("NN_COORDINATOR", "http://127.0.0.1:9,127.0.0.1:9"), ("NN_RETRY_SECONDS", "0")];
    let output = with_variables(NN_WORKER, &[], &dialled);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let output = with_variables(NN_WORKER, &[], &[]);
    assert!(usage_error(&output).contains("--coordinator <URL>"), "{output:?}");
}

#[test]
fn the_short_help_shows_the_common_options_only() {
    for (program, arguments, shown, hidden) in [
        (NN, &["train", "-h"][..], &["--data", "--resume", "--threads"][..], "--beta1"),
        (NN_COORD, &["-h"], &["--listen", "--token-file", "--epochs"], "--audit"),
        (NN_WORKER, &["-h"], &["--coordinator", "--token-file", "--threads"], "--bind-to"),
    ] {
        let help =
            stdout(&with_variables(program, arguments, &[("NN_LISTEN", "secret"), ("NN_THREADS", "7")]));
        for flag in shown {
            assert!(help.contains(flag), "{flag} is missing:\n{help}");
        }
        assert!(help.contains("see more with '--help'") && !help.contains(hidden), "{help}");
        assert!(!help.contains("secret"), "{help}");
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
        "nn-bench.1",
        "nn-certs-coordinator.1",
        "nn-certs-init.1",
        "nn-certs-show.1",
        "nn-certs-token.1",
        "nn-certs-worker.1",
        "nn-certs.1",
        "nn-completions.1",
        "nn-coord.1",
        "nn-dashboard.1",
        "nn-data-show.1",
        "nn-data.1",
        "nn-doctor.1",
        "nn-eval.1",
        "nn-export.1",
        "nn-fetch.1",
        "nn-import.1",
        "nn-lr-find.1",
        "nn-man.1",
        "nn-plan.1",
        "nn-predict.1",
        "nn-replay.1",
        "nn-report.1",
        "nn-runs-compare.1",
        "nn-runs-list.1",
        "nn-runs.1",
        "nn-serve.1",
        "nn-status.1",
        "nn-sweep.1",
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
        let mut child = plain(&mut Command::new(NN))
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
