//! PNG and JPEG: decoding bytes to upright grey pixels, with every length bounded before anything is allocated.

use std::io::Cursor;

use png::{ColorType, Limits, Transformations};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// The longest side that is read, in pixels.
pub const LONGEST_SIDE: usize = 20_000;

/// The most pixels that are read. Decoding takes at most about 10 bytes per pixel, whatever the file claims.
pub const MOST_PIXELS: usize = 64_000_000;

/// A picture with one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grey {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// Row-major, 0 for black and 255 for white.
    pub luma: Vec<u8>,
}

/// The reason that bytes are not a picture; the caller adds the file's name.
#[derive(Debug)]
pub enum Refused {
    /// The bytes are something else, which is named.
    NotAPicture(&'static str),
    /// The bytes are damaged or truncated.
    Damaged(String),
    /// The coding is valid, but not supported.
    Unsupported(&'static str),
    /// The header claims too many pixels.
    TooManyPixels {
        /// Columns of pixels.
        width: usize,
        /// Rows of pixels.
        height: usize,
        /// The most that are read.
        most: usize,
    },
}

/// Decodes a PNG or JPEG of at most [`MOST_PIXELS`].
///
/// # Errors
/// [`Refused`] if the bytes are no such picture, or one that is damaged or too large.
pub fn decode(bytes: &[u8]) -> Result<Grey, Refused> {
    decode_within(bytes, MOST_PIXELS)
}

/// Decodes a PNG or JPEG of at most `most` pixels.
///
/// # Errors
/// As for [`decode`].
pub fn decode_within(bytes: &[u8], most: usize) -> Result<Grey, Refused> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    if starts(b"\x89PNG\r\n\x1a\n") {
        return png(bytes, most);
    }
    if starts(&[0xff, 0xd8]) {
        return jpeg(bytes, most);
    }
    let box_type = bytes.get(4..8).unwrap_or_default();
    let brand = bytes.get(8..12).unwrap_or_default();
    Err(Refused::NotAPicture(match () {
        () if bytes.is_empty() => "empty",
        () if starts(b"GIF8") => "a GIF",
        () if starts(b"RIFF") && brand == b"WEBP" => "a WebP",
        () if starts(b"BM") => "a BMP",
        () if starts(b"II*\0") || starts(b"MM\0*") => "a TIFF",
        () if box_type == b"ftyp" && (brand == b"avif" || brand == b"avis") => "an AVIF",
        () if box_type == b"ftyp" => "a HEIC picture or a video",
        () if starts(b"%PDF") => "a PDF",
        () if starts(b"<svg") || starts(b"<?xml") => "an SVG or other XML",
        () => "something else",
    }))
}

fn check_size(width: usize, height: usize, most: usize) -> Result<(), Refused> {
    match width.checked_mul(height) {
        Some(0) => Err(Refused::Damaged("it has no pixels".to_owned())),
        Some(pixels) if pixels <= most && width.max(height) <= LONGEST_SIDE => Ok(()),
        _ => Err(Refused::TooManyPixels { width, height, most }),
    }
}

fn png(bytes: &[u8], most: usize) -> Result<Grey, Refused> {
    let damaged = |error: png::DecodingError| Refused::Damaged(error.to_string());
    // The limit covers what the decoder keeps besides pixels: palettes and texts.
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: 16 << 20 });
    decoder.set_transformations(Transformations::normalize_to_color8());
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info().map_err(damaged)?;
    check_size(header.width as usize, header.height as usize, most)?;
    let mut reader = decoder.read_info().map_err(damaged)?;
    let size =
        reader.output_buffer_size().ok_or_else(|| Refused::Damaged("its size overflows".to_owned()))?;
    let mut pixels = vec![0; size];
    let frame = reader.next_frame(&mut pixels).map_err(damaged)?;
    let (width, height) = (frame.width as usize, frame.height as usize);
    pixels.truncate(frame.buffer_size());
    let luma = match frame.color_type {
        ColorType::Grayscale => pixels,
        ColorType::GrayscaleAlpha => on_paper(pixels.chunks_exact(2).map(|p| (p[0], p[1]))),
        ColorType::Rgb => pixels.chunks_exact(3).map(luma).collect(),
        ColorType::Rgba => on_paper(pixels.chunks_exact(4).map(|p| (luma(p), p[3]))),
        ColorType::Indexed => return Err(Refused::Damaged("its palette was not expanded".to_owned())),
    };
    let exif = reader.info().exif_metadata.as_deref().and_then(orientation);
    Ok(upright(Grey { height, width, luma }, exif.unwrap_or(1)))
}

/// The luma of an RGB pixel by Rec. 601, like the Y of a JPEG and the "L" of common imaging libraries.
fn luma(rgb: &[u8]) -> u8 {
    ((299 * u32::from(rgb[0]) + 587 * u32::from(rgb[1]) + 114 * u32::from(rgb[2]) + 500) / 1000) as u8
}

/// Blends pixels `(grey, alpha)` onto white, or onto black if nothing would show on white, as with white ink.
fn on_paper(pixels: impl Iterator<Item = (u8, u8)> + Clone) -> Vec<u8> {
    let on = |paper: u32| -> Vec<u8> {
        let mix = |(grey, alpha): (u8, u8)| {
            (u32::from(grey) * u32::from(alpha) + paper * (255 - u32::from(alpha)) + 127) / 255
        };
        pixels.clone().map(|pixel| mix(pixel) as u8).collect()
    };
    let white = on(255);
    let darkest = white.iter().min().copied().unwrap_or(0);
    if darkest > 240 { on(0) } else { white }
}

fn jpeg(bytes: &[u8], most: usize) -> Result<Grey, Refused> {
    if let Some(coding) = unusual_coding(bytes) {
        return Err(Refused::Unsupported(coding));
    }
    // The decoder would fill the missing part of a truncated file with grey.
    if !has_end_marker(bytes) {
        return Err(Refused::Damaged("the JPEG's end is missing".to_owned()));
    }
    let damaged = |error: zune_jpeg::errors::DecodeErrors| Refused::Damaged(error.to_string());
    // The decoder's own limits are lifted so that `check_size` can state the size; the headers allocate no pixels.
    let options = DecoderOptions::default().set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(damaged)?;
    let (width, height) =
        decoder.dimensions().ok_or_else(|| Refused::Damaged("it has no size".to_owned()))?;
    check_size(width, height, most)?;
    let grey = matches!(decoder.input_colorspace(), Some(ColorSpace::YCbCr | ColorSpace::Luma));
    let output = if grey { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(options.jpeg_set_out_colorspace(output));
    let pixels = decoder.decode().map_err(damaged)?;
    let luma = if grey { pixels } else { pixels.chunks_exact(3).map(luma).collect() };
    if luma.len() != width * height {
        return Err(Refused::Damaged("pixels are missing".to_owned()));
    }
    let exif = decoder.exif().and_then(|exif| orientation(exif));
    Ok(upright(Grey { height, width, luma }, exif.unwrap_or(1)))
}

/// The coding of a JPEG that is valid but that decoders rarely know, by the marker of its frame.
fn unusual_coding(bytes: &[u8]) -> Option<&'static str> {
    let mut at = 2;
    loop {
        let &[0xff, marker, high, low] = bytes.get(at..)?.first_chunk()? else { return None };
        match marker {
            0xff => at += 1, // fill
            0xc3 => return Some("a JPEG with lossless coding"),
            0xc5..=0xc7 => return Some("a hierarchical JPEG"),
            0xc9..=0xcb | 0xcd..=0xcf => return Some("a JPEG with arithmetic coding"),
            0xc0..=0xc2 | 0xda => return None,
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
}

/// Whether a JPEG's segments and scans lead to an end-of-image marker. Any bytes after the marker are ignored: cameras
/// append videos.
fn has_end_marker(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        // The next marker is an FF that is not followed by fill (FF), stuffing (00) or a restart (D0 to D7).
        let Some(rest) = bytes.get(at..) else { return false };
        let marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff | 0xd0..=0xd7);
        let Some(skip) = rest.windows(2).position(marker) else { return false };
        if rest[skip + 1] == 0xd9 {
            return true;
        }
        let Some(length) = rest.get(skip + 2..skip + 4) else { return false };
        at += skip + 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
    }
}

/// The orientation tag of EXIF data, 1 to 8. Phones store pictures as the sensor sees them and note how they were held.
fn orientation(exif: &[u8]) -> Option<u8> {
    let big = match exif.get(..4)? {
        b"MM\0*" => true,
        b"II*\0" => false,
        _ => return None,
    };
    let u16_at = |at: usize| {
        let pair = exif.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
    };
    let (high, low) = (u16_at(4)?, u16_at(6)?);
    let (high, low) = if big { (high, low) } else { (low, high) };
    let directory = usize::from(high) << 16 | usize::from(low);
    let entries = u16_at(directory)?;
    (0..usize::from(entries))
        .map(|entry| directory + 2 + 12 * entry)
        .find(|&at| u16_at(at) == Some(0x0112))
        .and_then(|at| u16_at(at + 8))
        .and_then(|value| u8::try_from(value).ok())
        .filter(|value| (1..=8).contains(value))
}

/// Rotates and mirrors a picture according to its orientation tag.
fn upright(grey: Grey, orientation: u8) -> Grey {
    let (h, w) = (grey.height, grey.width);
    let turned = orientation >= 5;
    let (height, width) = if turned { (w, h) } else { (h, w) };
    if orientation <= 1 {
        return grey;
    }
    let source = |y: usize, x: usize| match orientation {
        2 => (y, w - 1 - x),
        3 => (h - 1 - y, w - 1 - x),
        4 => (h - 1 - y, x),
        5 => (x, y),
        6 => (h - 1 - x, y),
        7 => (h - 1 - x, w - 1 - y),
        8 => (x, w - 1 - y),
        _ => (y, x),
    };
    let mut luma = Vec::with_capacity(h * w);
    for y in 0..height {
        luma.extend((0..width).map(|x| {
            let (row, column) = source(y, x);
            grey.luma[row * w + column]
        }));
    }
    Grey { height, width, luma }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orientation_is_read_from_both_byte_orders() {
        let little = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
        let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0";
        assert_eq!((orientation(little), orientation(big)), (Some(6), Some(8)));
        for cut in 0..little.len() - 2 {
            assert_eq!(orientation(&little[..cut]), None);
        }
        assert_eq!(orientation(b"II*\0\xff\xff\xff\xff"), None);
    }

    #[test]
    fn pictures_are_turned_upright() {
        // 1 2 3
        // 4 5 6
        let grey = Grey { height: 2, width: 3, luma: vec![1, 2, 3, 4, 5, 6] };
        let turned = |orientation| upright(grey.clone(), orientation).luma;
        assert_eq!(turned(1), [1, 2, 3, 4, 5, 6]);
        assert_eq!(turned(2), [3, 2, 1, 6, 5, 4]);
        assert_eq!(turned(3), [6, 5, 4, 3, 2, 1]);
        assert_eq!(turned(4), [4, 5, 6, 1, 2, 3]);
        assert_eq!(turned(5), [1, 4, 2, 5, 3, 6]);
        assert_eq!(turned(6), [4, 1, 5, 2, 6, 3]);
        assert_eq!(turned(7), [6, 3, 5, 2, 4, 1]);
        assert_eq!(turned(8), [3, 6, 2, 5, 1, 4]);
        assert_eq!((upright(grey.clone(), 6).height, upright(grey, 6).width), (3, 2));
    }

    #[test]
    fn luma_is_that_of_rec_601() {
        assert_eq!([[255, 0, 0], [0, 255, 0], [0, 0, 255]].map(|rgb| luma(&rgb)), [76, 150, 29]);
        assert_eq!(luma(&[255; 3]), 255);
    }
}
