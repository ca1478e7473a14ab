//! Pictures within a page: PNG files as `data:` addresses, which a Content-Security-Policy must allow (`img-src data:`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The colours of the levels −31, 0 and 31: dark blue, grey, light yellow. Their lightness rises, so that signs are told apart without colour, too.
const ENDS: [[f32; 3]; 3] = [[20.0, 50.0, 140.0], [150.0, 150.0, 150.0], [255.0, 240.0, 130.0]];

/// The level of the ends.
const FULL: i8 = 31;

/// A grey picture of `height` × `width` pixels, from 0 (black) to 255; `None` if there are not so many pixels.
pub(super) fn grey(pixels: &[u8], size: (usize, usize)) -> Option<String> {
    encoded(pixels, size, None)
}

/// A picture of levels from −31 to 31 in diverging colours; `None` if there are not so many pixels.
pub(super) fn diverging(levels: &[i8], size: (usize, usize)) -> Option<String> {
    let palette: Vec<u8> = (-FULL..=FULL).flat_map(color).collect();
    let indices: Vec<u8> =
        levels.iter().map(|level| (level.clamp(&-FULL, &FULL) + FULL).unsigned_abs()).collect();
    encoded(&indices, size, Some(palette))
}

/// The levels from left to right, as a legend.
pub(super) fn scale() -> Option<String> {
    let levels: Vec<i8> = (-FULL..=FULL).collect();
    diverging(&levels, (1, levels.len()))
}

/// The colour of a level.
fn color(level: i8) -> [u8; 3] {
    let part = f32::from(level.abs()) / f32::from(FULL);
    let end = if level < 0 { ENDS[0] } else { ENDS[2] };
    std::array::from_fn(|channel| (ENDS[1][channel] + (end[channel] - ENDS[1][channel]) * part).round() as u8)
}

/// A PNG file with a byte for each pixel, as an address.
fn encoded(pixels: &[u8], (height, width): (usize, usize), palette: Option<Vec<u8>>) -> Option<String> {
    if pixels.len() != height * width {
        return None;
    }
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_color(if palette.is_some() { png::ColorType::Indexed } else { png::ColorType::Grayscale });
    if let Some(palette) = palette {
        encoder.set_palette(palette);
    }
    encoder.write_header().ok()?.write_image_data(pixels).ok()?;
    Some(format!("data:image/png;base64,{}", STANDARD.encode(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(address: &str) -> (u32, u32, Vec<u8>) {
        let file = STANDARD.decode(address.strip_prefix("data:image/png;base64,").unwrap()).unwrap();
        let mut decoder = png::Decoder::new(std::io::Cursor::new(file));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        pixels.truncate(info.buffer_size());
        (info.width, info.height, pixels)
    }

    #[test]
    fn pictures_come_back_as_they_were() {
        let pixels = [0, 1, 127, 255, 3, 4];
        assert_eq!(decoded(&grey(&pixels, (2, 3)).unwrap()), (3, 2, pixels.to_vec()));
        let (_, _, colors) = decoded(&diverging(&[-31, 0, 31, 90], (4, 1)).unwrap());
        assert_eq!(colors, [20, 50, 140, 150, 150, 150, 255, 240, 130, 255, 240, 130]);
        assert_eq!((grey(&pixels, (2, 2)), diverging(&[], (1, 1))), (None, None));
    }

    #[test]
    fn lightness_rises_with_the_level() {
        let light = |level| color(level).iter().map(|&part| u32::from(part)).sum::<u32>();
        assert!((-FULL..FULL).all(|level| light(level) < light(level + 1)));
        assert!(scale().is_some());
    }
}
