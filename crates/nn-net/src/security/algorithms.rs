//! The names of algorithms in certificates, from their identifiers in DER.

use std::borrow::Cow;

use x509_parser::asn1_rs::Oid;

/// Signature algorithms by their object identifiers.
const SIGNATURES: [(&[u8], &str); 13] = [
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1], "ECDSA/SHA-1"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 1], "ECDSA/SHA-224"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2], "ECDSA/SHA-256"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3], "ECDSA/SHA-384"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4], "ECDSA/SHA-512"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4], "RSA/MD5"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5], "RSA/SHA-1"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10], "RSA-PSS"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11], "RSA/SHA-256"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 14], "RSA/SHA-224"),
    (&[0x2b, 0x65, 0x70], "Ed25519"),
    (&[0x2b, 0x65, 0x71], "Ed448"),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 2], "DSA/SHA-256"),
];

/// Kinds of keys by the object identifier that tells them apart.
const KEYS: [(&[u8], &str); 7] = [
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], "P-256"),
    (&[0x2b, 0x81, 4, 0, 34], "P-384"),
    (&[0x2b, 0x81, 4, 0, 35], "P-521"),
    (&[0x2b, 0x81, 4, 0, 10], "secp256k1"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1], "RSA"),
    (&[0x2b, 0x65, 0x70], "Ed25519"),
    (&[0x2b, 0x65, 0x71], "Ed448"),
];

/// The name of a signature algorithm, or its number.
pub(super) fn signature(identifier: &[u8]) -> String {
    let oid = first(identifier).0;
    match SIGNATURES.iter().find(|(known, _)| *known == oid) {
        Some((_, name)) => (*name).to_owned(),
        None => number(oid),
    }
}

/// The kind of a public key: its curve, or else its algorithm.
pub(super) fn key(identifier: &[u8]) -> String {
    let (oid, parameters) = first(identifier);
    let curve = first(parameters).0;
    match KEYS.iter().find(|(known, _)| *known == curve || *known == oid) {
        Some((_, name)) => (*name).to_owned(),
        None => number(oid),
    }
}

/// The object identifier that an algorithm's identifier begins with, and what follows it.
fn first(identifier: &[u8]) -> (&[u8], &[u8]) {
    match identifier {
        [6, length, rest @ ..] if rest.len() >= usize::from(*length) => rest.split_at(usize::from(*length)),
        _ => (identifier, &[]),
    }
}

/// The dotted form of an object identifier.
fn number(oid: &[u8]) -> String {
    format!("the algorithm {}", Oid::new(Cow::Borrowed(oid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_have_names_or_numbers() {
        let sha512 = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4];
        assert_eq!(signature(&sha512), "ECDSA/SHA-512");
        let p521 = [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 35];
        assert_eq!(key(&p521), "P-521");
        assert_eq!(key(&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0]), "RSA");
        assert_eq!(signature(&[6, 3, 0x55, 4, 3]), "the algorithm 2.5.4.3");
        // Whatever a peer sends.
        for bytes in [&[][..], &[6], &[6, 200, 1], &[0xff; 40]] {
            assert!(!signature(bytes).is_empty() && !key(bytes).is_empty());
        }
    }
}
