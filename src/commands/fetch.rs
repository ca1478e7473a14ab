//! `nn fetch`: a public data set into the cache.

use nn_data::{Mirrors, Remote, default_cache_dir};

use crate::config::FetchArgs;
use crate::failure::{Failure, write_stdout};
use crate::progress::LoadProgress;

/// Fetches a data set and says where it is.
pub(crate) fn fetch(args: &FetchArgs) -> Result<(), Failure> {
    let remote = if args.name == Remote::Mnist.name() { Remote::Mnist } else { Remote::FashionMnist };
    let cache = args.cache_dir.clone().or_else(default_cache_dir).ok_or_else(|| {
        Failure::usage("there is no cache folder: neither NN_CACHE_DIR, XDG_CACHE_HOME nor HOME is set")
            .help("give one with --cache-dir")
    })?;
    let progress = LoadProgress::new(false);
    let folder = nn_data::fetch(remote, &cache, &Mirrors::from_env(remote), &progress)?;
    drop(progress);
    write_stdout(format!("{} is in {}\n", args.name, folder.display()))
}
