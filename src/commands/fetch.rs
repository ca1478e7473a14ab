//! `nn fetch`: download a public data set into the cache.

use nn_data::{Mirrors, Remote, default_cache_dir};

use crate::config::FetchArgs;
use crate::failure::{Failure, write_stdout};
use crate::progress::LoadBar;

/// Fetches a data set and prints its folder.
pub(crate) fn fetch(args: &FetchArgs) -> Result<(), Failure> {
    let remote = if args.name == Remote::Mnist.name() { Remote::Mnist } else { Remote::FashionMnist };
    let cache = args.cache_dir.clone().or_else(default_cache_dir).ok_or_else(|| {
        Failure::usage("there is no cache folder: NN_CACHE_DIR, XDG_CACHE_HOME and HOME are not set")
            .help("give one with --cache-dir")
    })?;
    let progress = LoadBar::new(false);
    let folder = nn_data::fetch(remote, &cache, &Mirrors::from_env(remote), &progress)?;
    drop(progress);
    write_stdout(format!("{} is in {}\n", args.name, folder.display()))
}
