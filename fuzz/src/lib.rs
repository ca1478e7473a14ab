//! What all fuzz targets share: where they begin.

use std::fs;
use std::path::Path;

/// Puts a target's seeds into its corpus, before libFuzzer reads that: files that are right, made by the same code that
/// the ordinary tests damage, so that no corpus need be kept in the repository.
pub fn plant(target: &str, seeds: &[Vec<u8>]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder).expect("the corpus can be written to");
    for (at, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{at:02}")), seed).expect("the corpus can be written to");
    }
}
