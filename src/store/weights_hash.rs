//! The hash of the weights after a step.

use std::fmt;

use twox_hash::XxHash3_128;

/// The XXH3-128 of the little-endian parameters, layer by layer, weights row-major `[out][in]` before biases: the same
/// bytes that `params_sha256` covers.
///
/// It compares the results of honest machines many times a second. It takes a twenty-fifth of the time of SHA-256 and
/// offers no protection against an attacker.
///
/// ```
/// use nn::store::WeightsHash;
/// assert_eq!(WeightsHash::of(&[1.0, -2.5]).to_string(), "0ee1ae55463f11904bfb7dc1c530658a");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightsHash(u128);

impl WeightsHash {
    /// Hashes parameters.
    #[must_use]
    pub fn of(params: &[f32]) -> Self {
        #[cfg(target_endian = "little")]
        let hash = XxHash3_128::oneshot(zerocopy::IntoBytes::as_bytes(params));
        #[cfg(target_endian = "big")]
        let hash = XxHash3_128::oneshot(&params.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
        Self(hash)
    }

    /// The hash as 32 hexadecimal digits. For the log, where formatting would take as long as hashing a small network.
    #[must_use]
    pub fn hex(&self) -> [u8; 32] {
        let mut digits = [0; 32];
        for (two, byte) in digits.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            two.copy_from_slice(&[byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
        }
        digits
    }
}

impl fmt::Display for WeightsHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.hex()).unwrap_or_default())
    }
}
