//! Compiles `proto/` with protox, so that a build needs no `protoc`.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let files = protox::compile(
        ["nn/v1/tensor.proto", "nn/v1/work.proto", "nn/v1/status.proto", "nn/v1/runs.proto"],
        [root],
    )?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // For the reflection service.
    std::fs::write(out.join("nn.v1.bin"), files.encode_to_vec())?;
    // Payloads are slices of the bytes read from the socket, not copies.
    tonic_prost_build::configure().bytes(".nn.v1").compile_fds(files)?;
    Ok(())
}
