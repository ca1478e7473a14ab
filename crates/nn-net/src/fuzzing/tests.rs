//! The same promises as property tests: valid bytes and scripts, with flipped bits, cut short, and spliced.

use proptest::prelude::*;

use super::fixture::FIXTURE;
use super::*;

/// A seed of a check, corrupted in a few places.
fn corrupted(check: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let seeds = seeds(check);
    let other = seeds.clone();
    let change = (any::<prop::sample::Index>(), 0u8..6, any::<u8>(), any::<prop::sample::Index>());
    let changes = proptest::collection::vec(change, 0..5);
    (proptest::sample::select(seeds), proptest::sample::select(other), changes).prop_map(
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
    fn streams_hold_their_promises(bytes in corrupted("stream")) {
        check_stream(&bytes);
    }

    #[test]
    fn manifests_hold_their_promises(bytes in corrupted("manifest")) {
        check_manifest(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn training_sets_hold_their_promises(bytes in corrupted("training_set")) {
        let folder = tempfile::tempdir().unwrap();
        check_training_set(&bytes, folder.path());
    }

    #[test]
    fn strangers_change_nothing(script in corrupted("coordinator")) {
        check_coordinator(&script);
    }

    #[test]
    fn a_worker_survives_any_coordinator(script in corrupted("worker")) {
        check_worker(&script, None);
    }

    #[test]
    fn no_run_of_a_sweep_is_lost_whatever_a_peer_says(script in corrupted("runs")) {
        check_runs(&script);
    }

    #[test]
    fn strangers_change_nothing_whatever_they_do(
        audit in 0u8..3,
        operations in proptest::collection::vec((any::<u8>(), any::<[u8; 4]>()), 0..60),
    ) {
        let bytes = operations.iter().flat_map(|(operation, rest)| [&[*operation], &rest[..]].concat());
        // Three strangers that join.
        let script: Vec<u8> = [audit, 0, 0, 0, 4, 1, 1, 20, 2, 1, 36, 3, 1].into_iter().chain(bytes).collect();
        check_coordinator(&script);
    }
}

/// If seeds were refused early, the code behind would not be tested.
#[test]
fn seeds_come_far() {
    for bytes in seeds("manifest") {
        let parts: ManifestParts = serde_json::from_slice(&bytes).unwrap();
        Manifest::new(parts).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let kept = seeds("training_set").into_iter().filter(|bytes| {
        let hash = hex(&Sha256::digest(&bytes[1..]));
        std::fs::write(folder.path().join(format!("{hash}.train")), &bytes[1..]).unwrap();
        let manifests = [fixture::training_manifests()[0].clone(), FIXTURE.manifest.clone()];
        manifests.iter().any(|manifest| crate::client::load_kept(folder.path(), manifest, &hash).is_some())
    });
    assert!(kept.count() >= 4);
    let coordinator = seeds("coordinator");
    // The thirteenth is a run with rounds.
    for seed in [&coordinator[0], &coordinator[4], &coordinator[12]] {
        let (answered, given) = crate::server::hostile::answers(seed);
        assert!(answered >= 2 && given >= 1, "{answered} answers, {given} nodes for strangers");
    }
    let worker = seeds("worker");
    // The last two of these are runs with rounds; the second and the last make the initial weights themselves.
    for seed in [&worker[0], &worker[7], &worker[8], &worker[17], &worker[23]] {
        let (sent, said) = crate::client::hostile::hear(seed, None, true);
        // Nodes of earlier steps are not computed once a later one is assigned.
        assert!(!sent.is_empty(), "{said}");
    }
    // All runs of a desk, at once and one after the other; runs without files and with; one that fails.
    let ended: Vec<usize> = seeds("runs").iter().map(|seed| crate::runs::hostile::ended(seed)).collect();
    assert_eq!(ended, [3, 3, 0, 0, 3, 2, 0, 3, 0]);
    let (_, said) = crate::client::hostile::hear(&worker[3], None, false);
    assert!(said.contains("more nodes than a step has"), "{said}");
}

/// Found by fuzzing: the error quoted the manifest with its escape sequences.
#[test]
fn escape_sequences_of_a_coordinator_do_not_reach_the_terminal() {
    let manifest =
        serde_json::to_string(&FIXTURE.manifest).unwrap().replace("cross-entropy", "cr\\u001b[31mss\u{7f}");
    let length = (manifest.len() as u16).to_le_bytes();
    let script = [&[0, 0, 1][..], &length, manifest.as_bytes()].concat();
    let (_, said) = crate::client::hostile::hear(&script, None, false);
    assert!(said.contains("unknown variant `cr[31mss`") && is_plain(&said), "{said:?}");
}

/// A worker cannot make the weights of a model, so it must be sent them; with them it computes.
#[test]
fn a_worker_is_sent_the_weights_of_a_model_and_does_not_make_them() {
    let mut parts = FIXTURE.manifest.parts().clone();
    parts.recipe.initial_sha256 = Some("ab".repeat(32));
    let manifest = serde_json::to_string(&parts).unwrap();
    let length = (manifest.len() as u16).to_le_bytes();
    let begun = [&[0, 0, 1][..], &length, manifest.as_bytes(), &[0, 0, 50]].concat();
    let (sent, said) =
        crate::client::hostile::hear(&[&begun[..], &[0, 13, 0, 4, 0, 0]].concat(), None, false);
    assert!(
        sent.is_empty() && said.contains("the initial weights are a model's, and must be sent"),
        "{said}"
    );
    let (sent, said) = crate::client::hostile::hear(&[&begun[..], &[0, 6, 0, 4, 0, 0]].concat(), None, true);
    assert!(!sent.is_empty(), "{said}");
}
