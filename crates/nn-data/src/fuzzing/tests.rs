//! The same properties in the ordinary tests, on valid files with bits flipped, truncated, spliced and repeated. These
//! get further into the parsers than random bytes do.

use proptest::prelude::*;

use super::*;

/// A seed of a check, damaged in a few places.
fn damaged(check: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let seeds = seeds(check);
    let other = seeds.clone();
    let pick = proptest::sample::select(seeds);
    let change = (any::<prop::sample::Index>(), 0u8..6, any::<u8>(), any::<prop::sample::Index>());
    (pick, proptest::sample::select(other), proptest::collection::vec(change, 0..4)).prop_map(
        |(mut bytes, other, changes)| {
            for (at, kind, byte, to) in changes {
                if bytes.is_empty() {
                    break;
                }
                let at = at.index(bytes.len());
                match kind {
                    0 => bytes[at] = byte,
                    1 => bytes[at] ^= 1 << (byte % 8),
                    2 => bytes.truncate(at),
                    3 => bytes.insert(at, byte),
                    4 => bytes.extend_from_within(at..),
                    _ => {
                        bytes.truncate(at);
                        bytes.extend(&other[to.index(other.len())..]);
                    }
                }
            }
            bytes
        },
    )
}

proptest! {
    #[test]
    fn idx_properties_hold(bytes in damaged("idx")) {
        check_idx(&bytes);
    }

    #[test]
    fn npy_properties_hold(bytes in damaged("npy")) {
        check_npy(&bytes);
    }

    #[test]
    fn table_properties_hold(bytes in damaged("table")) {
        let folder = tempfile::tempdir().unwrap();
        check_table(&bytes, folder.path());
    }

    #[test]
    fn csv_properties_hold(bytes in damaged("csv")) {
        check_csv(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn picture_folder_properties_hold(bytes in damaged("pictures")) {
        let folder = tempfile::tempdir().unwrap();
        check_archive(&bytes, folder.path());
    }

    #[test]
    fn archive_properties_hold(bytes in damaged("archive")) {
        let folder = tempfile::tempdir().unwrap();
        check_archive(&bytes, folder.path());
    }
}

/// Seeds that were refused early would leave the code behind the first checks untested.
#[test]
fn seeds_are_accepted() {
    for bytes in seeds("idx") {
        assert!(idx::images(&bytes, "x", LIMIT).is_ok() || idx::labels(&bytes, "x", LIMIT).is_ok());
    }
    let accepted = |bytes: &[u8]| Array::parse(bytes, "x", LIMIT).is_ok_and(|array| array.inputs().is_ok());
    assert!(seeds("npy").iter().filter(|bytes| accepted(bytes)).count() >= 5);
    for bytes in seeds("csv") {
        assert!(
            Table::open(bytes[1..].to_vec(), "x", &LoadOptions::default(), None)
                .unwrap()
                .read(Some(2), &[])
                .is_ok()
        );
    }
    let folder = tempfile::tempdir().unwrap();
    for bytes in seeds("table") {
        let path = folder.path().join("table");
        std::fs::write(&path, &bytes[1..]).unwrap();
        let loaded = crate::load(&Source::Path(path), &LoadOptions::default(), &Silent);
        assert!(
            loaded.is_ok_and(|splits| splits.preparation.is_some()),
            "{}",
            String::from_utf8_lossy(&bytes)
        );
    }
    let loaded = seeds("archive").into_iter().filter(|bytes| {
        let members = members(&bytes[1..]);
        let path = folder.path().join("x");
        let file = match bytes[0] % 6 {
            0 | 2 => bytes[1..].to_vec(),
            1 => gzip(&bytes[1..]),
            3 => zip(&members),
            4 => tar(&members),
            _ => gzip(&tar(&members)),
        };
        std::fs::write(&path, file).unwrap();
        crate::load(&Source::Path(path), &LoadOptions::default(), &Silent).is_ok()
    });
    assert!(loaded.count() >= 8);
}

/// An archive may hold any number of names of any content: they must neither steer the terminal nor fill the log.
#[test]
fn messages_quote_names_in_archives_safely() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.zip");
    let names = |count: usize, end: &str| -> Vec<(String, Vec<u8>)> {
        (0..count).map(|i| (format!("{i}\u{1b}]0;{}{end}", "x".repeat(2000)), b"PK".to_vec())).collect()
    };
    for (members, says) in [
        (names(300, ".npy"), "and 288 more"),
        (names(300, ".csv"), "and 288 more"),
        (names(1, ".csv"), "0\u{fffd}]0;xxx"),
        (names(300, "train-images-idx3"), "and 288 more"),
    ] {
        std::fs::write(&path, zip(&members)).unwrap();
        let error = crate::load(&Source::Path(path.clone()), &LoadOptions::default(), &Silent).unwrap_err();
        check_message(&error);
        assert!(error.to_string().contains(says), "{error}");
    }
    let label = format!("\u{1b}[2J{}", "y".repeat(1 << 16));
    std::fs::write(path.with_extension("csv"), format!("1,2\n3,{label}\n").repeat(9)).unwrap();
    let options = LoadOptions { task: Some(Task::Regression), ..LoadOptions::default() };
    let error = crate::load(&Source::Path(path.with_extension("csv")), &options, &Silent).unwrap_err();
    check_message(&error);
}

/// Found by the property test above: the type that a file claims was quoted verbatim.
#[test]
fn messages_quote_types_safely() {
    for descr in ["|u\t", "|\u{1b}[2J", &"x".repeat(9000)] {
        check_npy(&write_npy(descr, "(1, 1)", &[0; 4]));
    }
    // A tar with invalid numbers, which the library's error quotes.
    let mut bytes = tar(&[("a\u{1b}[2J".to_owned(), vec![1])]);
    bytes[124..135].copy_from_slice(b"\x1b[31mzzzzzz");
    let sum: u32 = bytes[..512].iter().map(|&b| u32::from(b)).sum::<u32>()
        - bytes[148..156].iter().map(|&b| u32::from(b)).sum::<u32>()
        + 8 * 32;
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let folder = tempfile::tempdir().unwrap();
    check_archive(&[&[0], &bytes[..]].concat(), folder.path());
}
