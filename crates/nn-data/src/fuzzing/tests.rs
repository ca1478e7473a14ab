//! The same promises in the ordinary tests: valid files with bits turned, cut short, spliced and repeated, which go
//! deeper than random bytes.

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
    fn idx_holds_its_promises(bytes in damaged("idx")) {
        check_idx(&bytes);
    }

    #[test]
    fn npy_holds_its_promises(bytes in damaged("npy")) {
        check_npy(&bytes);
    }

    #[test]
    fn csv_holds_its_promises(bytes in damaged("csv")) {
        check_csv(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn archives_hold_their_promises(bytes in damaged("archive")) {
        let folder = tempfile::tempdir().unwrap();
        check_archive(&bytes, folder.path());
    }
}

/// Were a seed refused at its door, what is behind it would not be tested.
#[test]
fn seeds_are_accepted() {
    for bytes in seeds("idx") {
        assert!(idx::images(&bytes, "x", LIMIT).is_ok() || idx::labels(&bytes, "x", LIMIT).is_ok());
    }
    let accepted = |bytes: &[u8]| Array::parse(bytes, "x", LIMIT).is_ok_and(|array| array.inputs().is_ok());
    assert!(seeds("npy").iter().filter(|bytes| accepted(bytes)).count() >= 5);
    for bytes in seeds("csv") {
        assert!(Table::open(&bytes[1..], "x", Header::Auto).unwrap().read(Some(2)).is_ok());
    }
    let folder = tempfile::tempdir().unwrap();
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
