//! Numbers of 16 bits, which are widened: every one of them is a number of 32 bits, too.

/// What is said of a file with such numbers.
pub(super) const NOTE: &str = "the file has numbers of 16 bits; they are taken over exactly, and nn computes with 32 bits, so \
                               that answers differ from a program that rounds to 16 bits in between";

/// The value of a float of 16 bits (IEEE's binary16).
pub(super) fn from_f16(bits: u16) -> f32 {
    nn_data::half(bits) as f32
}

/// The value of a bfloat16: the upper half of an f32.
pub(super) fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Little-endian numbers.
pub(super) fn halves(bytes: &[u8], widen: fn(u16) -> f32) -> Vec<f32> {
    bytes.as_chunks::<2>().0.iter().map(|&bytes| widen(u16::from_le_bytes(bytes))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounding to f32 takes nothing from any of them, subnormal numbers and the sign of zero included.
    #[test]
    fn every_number_of_16_bits_is_widened_exactly() {
        for bits in 0..=u16::MAX {
            let (exact, wide) = (nn_data::half(bits), from_f16(bits));
            assert!(
                f64::from(wide).to_bits() == exact.to_bits() || wide.is_nan() && exact.is_nan(),
                "{bits:#x}"
            );
        }
        assert_eq!([0x0001, 0x3c00, 0x7bff].map(from_f16), [2f32.powi(-24), 1.0, 65504.0]);
        assert_eq!([0x3f80, 0xc040, 0x0001].map(from_bf16), [1.0, -3.0, f32::from_bits(1 << 16)]);
    }
}
