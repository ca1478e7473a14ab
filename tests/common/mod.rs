//! Shared by the tests of the programs: a folder to run them in, and functions that make the files they read.
#![allow(dead_code)] // each test binary uses only some of it

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A temporary folder that `nn` runs in.
pub(crate) struct Place(TempDir);

/// The exit code and output of a program.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the output is UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ran {
    /// Fails unless the exit code is 0.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }

    /// Fails unless the command was refused with this exit code and exactly one error, which a user can understand and
    /// which contains all of `parts`.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        let errors = self.stderr.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(errors, 1, "there must be exactly one error: {self:#?}");
        for bad in ["panicked", "RUST_BACKTRACE", "unwrap", "Err(", "Some("] {
            assert!(!self.stderr.contains(bad), "users should not see {bad}: {self:#?}");
        }
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in {self:#?}");
        }
    }
}

/// A process that is killed if the test fails.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Keeps the tester's own variables from a program: its options, and colours.
pub(crate) fn plain(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("NN_") {
            command.env_remove(name);
        }
    }
    for name in ["NO_COLOR", "CLICOLOR_FORCE", "COLORTERM"] {
        command.env_remove(name);
    }
    command
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The path of a file in the folder.
    pub(crate) fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file, making its folders.
    pub(crate) fn file(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// `nn` with arguments, ready to start.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nn"));
        self.prepare(&mut command);
        command.args(arguments);
        command
    }

    /// A shell that runs `script`, in which `$NN` is the binary.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        self.prepare(&mut command);
        command.args(["-c", script]).env("NN", env!("CARGO_BIN_EXE_nn"));
        command
    }

    /// In this folder, and in a plain environment.
    fn prepare(&self, command: &mut Command) {
        plain(command.current_dir(self.path()).stdin(Stdio::null()));
    }

    /// Runs `nn` with arguments separated by spaces.
    pub(crate) fn nn(&self, arguments: &str) -> Ran {
        self.command(arguments.split_whitespace()).output().unwrap().into()
    }

    /// The summary of the run in the folder `out`.
    #[track_caller]
    pub(crate) fn summary(&self, out: &str) -> Value {
        let path = self.at(out).join("summary.json");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).unwrap()
    }

    /// The hash of the final parameters of the run in `out`.
    #[track_caller]
    pub(crate) fn hash(&self, out: &str) -> String {
        self.summary(out)["params_sha256"].as_str().expect("a hash").to_owned()
    }

    /// All lines of the log of the run in `out`.
    pub(crate) fn log(&self, out: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.at(out).join("metrics.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The lines of epochs in the log of the run in `out`.
    pub(crate) fn metrics(&self, out: &str) -> Vec<Value> {
        self.log(out).into_iter().filter(|line| line["kind"] == "epoch").collect()
    }

    /// The steps in the log of the run in `out`, in order, with the hashes of their weights.
    pub(crate) fn steps(&self, out: &str) -> Vec<(u64, String)> {
        let steps = self.log(out).into_iter().filter(|line| line["kind"] == "step");
        steps
            .map(|line| (line["step"].as_u64().unwrap(), line["weights"].as_str().unwrap().to_owned()))
            .collect()
    }

    /// The relative paths of all files below the folder, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        fn walk(folder: &Path, base: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, base, found);
                } else {
                    found.push(path.strip_prefix(base).unwrap().display().to_string());
                }
            }
        }
        let mut found = Vec::new();
        walk(self.path(), self.path(), &mut found);
        found.sort_unstable();
        found
    }

    /// Fails if a temporary file was left behind.
    #[track_caller]
    pub(crate) fn no_halves(&self) {
        let files = self.files();
        let half = |name: &&String| name.contains(".nn-") || name.ends_with(".part") || name.contains(".tmp");
        assert_eq!(files.iter().find(half), None, "{files:?}");
    }
}

/// An IDX file of unsigned bytes.
pub(crate) fn idx(dimensions: &[usize], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, u8::try_from(dimensions.len()).unwrap()];
    dimensions.iter().for_each(|&d| bytes.extend(u32::try_from(d).unwrap().to_be_bytes()));
    bytes.extend(data);
    bytes
}

/// An NPY file.
pub(crate) fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(data);
    bytes
}

/// An NPY file of single-precision numbers.
pub(crate) fn npy_f32(shape: &str, data: &[f32]) -> Vec<u8> {
    npy("<f4", shape, &data.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())
}

/// A grey PNG.
pub(crate) fn png(width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header().unwrap().write_image_data(pixels).unwrap();
    bytes
}

/// A number in `0..1` that depends only on `address`.
pub(crate) fn noise(address: usize) -> f64 {
    let mut x = (address as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x >> 40) as f64 / (1u64 << 24) as f64
}

/// A CSV with `rows` samples of a linear function of three numbers.
pub(crate) fn linear_csv(rows: usize) -> String {
    let mut text = String::from("a,b,c,y\n");
    for row in 0..rows {
        let [a, b, c] = [0, 1, 2].map(|column| noise(3 * row + column) * 2.0 - 1.0);
        text += &format!("{a:.5},{b:.5},{c:.5},{:.5}\n", 0.5 * a - 1.5 * b + c + 0.25);
    }
    text
}

/// The names of the four files of MNIST.
pub(crate) const NAMES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// A small data set of 8×8 pictures as four IDX files, in the order of [`NAMES`]: 40 training and 20 test samples.
pub(crate) fn four() -> [Vec<u8>; 4] {
    let pixels = |samples: usize| (0..samples * 64).map(|i| (i * 37 % 256) as u8).collect::<Vec<u8>>();
    let labels = |samples: usize| (0..samples).map(|i| (i * 7 % 10) as u8).collect::<Vec<u8>>();
    [
        idx(&[40, 8, 8], &pixels(40)),
        idx(&[40], &labels(40)),
        idx(&[20, 8, 8], &pixels(20)),
        idx(&[20], &labels(20)),
    ]
}

/// The value of a sample in the figures for Prometheus, by its name with its labels.
pub(crate) fn figure(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// Fails unless Prometheus' own tool is content with figures: with their format, and with their names. Without the tool it says so.
#[track_caller]
pub(crate) fn promtool(text: &str) {
    let tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut tool) = tool else {
        println!("skipped: there is no promtool here");
        return;
    };
    let mut stdin = tool.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, text.as_bytes()).unwrap();
    drop(stdin);
    let ran: Ran = tool.wait_with_output().unwrap().into();
    assert!(ran.code == Some(0) && ran.stdout.is_empty() && ran.stderr.is_empty(), "{ran:#?}\n{text}");
}
