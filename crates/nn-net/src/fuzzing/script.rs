//! Bytes read as operations and their operands. After their end, everything is 0.

use bytes::Bytes;

/// The rest of a script.
pub(crate) struct Script<'a>(pub(crate) &'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    pub(crate) fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A length in two bytes, and as many bytes, as far as there are any.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.word()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }

    /// The same as text, including control characters.
    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}

/// gRPC's frame around bytes, which need not be a message.
pub(crate) fn framed(bytes: &[u8]) -> Bytes {
    let length = (bytes.len() as u32).to_be_bytes();
    [&[0], &length[..], bytes].concat().into()
}
