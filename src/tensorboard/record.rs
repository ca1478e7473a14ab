//! TensorFlow's records (`tfrecord`): the length in 8 bytes, its checksum in 4, the data, and its checksum in 4, all
//! little-endian.

/// Appends a record.
pub(super) fn append(out: &mut Vec<u8>, data: &[u8]) {
    let length = (data.len() as u64).to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(&length).to_le_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(&checksum(data).to_le_bytes());
}

/// CRC-32C (Castagnoli), turned and shifted, so that a checksum of data that contain checksums is as good.
fn checksum(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The data of all records; `None` if one of them is damaged.
#[cfg(test)]
pub(super) fn read(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<8>()?;
        let (length_sum, rest) = rest.split_first_chunk::<4>()?;
        let (data, rest) = rest.split_at_checked(u64::from_le_bytes(*length).try_into().ok()?)?;
        let (data_sum, rest) = rest.split_first_chunk::<4>()?;
        let right = u32::from_le_bytes(*length_sum) == checksum(length)
            && u32::from_le_bytes(*data_sum) == checksum(data);
        records.push(right.then_some(data)?);
        bytes = rest;
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_tensorflows() {
        // The check value of CRC-32C is e3069283: (it rotated by 15 bits) + a282ead8, modulo 2³².
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(checksum(b"123456789"), 0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8));
        // The first twelve bytes of every file that TensorFlow writes: the length of its version, 24, and that checksum.
        let mut record = Vec::new();
        append(&mut record, &[0; 24]);
        assert_eq!(record[..12], [24, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22]);
    }

    #[test]
    fn a_changed_byte_is_found() {
        let mut bytes = Vec::new();
        append(&mut bytes, b"one");
        append(&mut bytes, b"");
        assert_eq!(read(&bytes), Some(vec![&b"one"[..], b""]));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(read(&changed), None, "{at}");
        }
    }
}
