//! The numbers of a constant.

use super::proto::{TensorProto, data_type};
use crate::exchange::External;
use crate::exchange::half::{from_bf16, from_f16, halves};

/// The lengths of a tensor, and their product.
pub(super) fn shape(tensor: &TensorProto) -> Result<(Vec<usize>, usize), String> {
    let lengths: Option<Vec<usize>> =
        tensor.dims.iter().map(|&length| usize::try_from(length).ok()).collect();
    let lengths = lengths.ok_or("has a negative length")?;
    let count = lengths.iter().try_fold(1_usize, |product, &length| product.checked_mul(length));
    Ok((lengths, count.ok_or("is too large")?))
}

/// The shape and the numbers of a tensor of f32, or of 16 bits, which are the same numbers in f32.
pub(super) fn numbers(
    tensor: &TensorProto,
    external: &External<'_>,
) -> Result<(Vec<usize>, Vec<f32>), String> {
    let (lengths, count) = shape(tensor)?;
    let (size, widen) = match tensor.data_type {
        data_type::FLOAT => (4, None),
        data_type::FLOAT16 => (2, Some(from_f16 as fn(u16) -> f32)),
        data_type::BFLOAT16 => (2, Some(from_bf16 as fn(u16) -> f32)),
        other => {
            let found = data_type::name(other);
            return Err(format!(
                "has numbers of type {found}; only FLOAT, FLOAT16 and BFLOAT16 are imported"
            ));
        }
    };
    let read = |bytes: &[u8]| match widen {
        None => floats(bytes),
        Some(widen) => halves(bytes, widen),
    };
    let wrong = |found: usize| format!("has {found} numbers, not the {count} of its shape {lengths:?}");
    if tensor.data_location == 1 {
        let entry =
            |key: &str| tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| &entry.value);
        let number = |key: &str| {
            entry(key).map(|text| text.parse::<u64>().map_err(|_| format!("has a bad {key}: {text:?}")))
        };
        let location = entry("location").ok_or("is in another file, which is not named")?;
        let offset = number("offset").transpose()?.unwrap_or(0);
        let bytes = external(location, offset, (count as u64).saturating_mul(size as u64))?;
        return if bytes.len() / size == count {
            Ok((lengths, read(&bytes)))
        } else {
            Err(wrong(bytes.len() / size))
        };
    }
    let numbers = match &tensor.raw_data {
        Some(raw) if raw.len().is_multiple_of(size) && raw.len() / size == count => read(raw),
        Some(raw) => return Err(wrong(raw.len() / size)),
        None => match widen {
            None if tensor.float_data.len() == count => tensor.float_data.clone(),
            None => return Err(wrong(tensor.float_data.len())),
            Some(widen) if tensor.int32_data.len() == count => {
                tensor.int32_data.iter().map(|&bits| widen(bits as u16)).collect()
            }
            Some(_) => return Err(wrong(tensor.int32_data.len())),
        },
    };
    Ok((lengths, numbers))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// Whether a tensor has numbers of 16 bits.
pub(super) fn is_half(tensor: &TensorProto) -> bool {
    matches!(tensor.data_type, data_type::FLOAT16 | data_type::BFLOAT16)
}

/// The number of a tensor of one element; `None` if it has more, or no numbers.
pub(super) fn scalar(tensor: &TensorProto) -> Option<f64> {
    if shape(tensor).ok()?.1 != 1 {
        return None;
    }
    let raw = tensor.raw_data.as_deref();
    match tensor.data_type {
        data_type::FLOAT => match raw {
            Some(raw) => Some(f64::from(f32::from_le_bytes(raw.try_into().ok()?))),
            None => tensor.float_data.first().copied().map(f64::from),
        },
        data_type::FLOAT16 | data_type::BFLOAT16 => {
            let bits = match raw {
                Some(raw) => u16::from_le_bytes(raw.try_into().ok()?),
                None => *tensor.int32_data.first()? as u16,
            };
            let widen = if tensor.data_type == data_type::FLOAT16 { from_f16 } else { from_bf16 };
            Some(f64::from(widen(bits)))
        }
        data_type::DOUBLE => match raw {
            Some(raw) => Some(f64::from_le_bytes(raw.try_into().ok()?)),
            None => tensor.double_data.first().copied(),
        },
        data_type::INT64 => match raw {
            Some(raw) => Some(i64::from_le_bytes(raw.try_into().ok()?) as f64),
            None => tensor.int64_data.first().map(|&whole| whole as f64),
        },
        _ => None,
    }
}
