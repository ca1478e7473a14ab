//! Tests of NPY reading.

use proptest::prelude::*;

use super::*;

const LIMIT: u64 = 1 << 20;

fn npy(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(data);
    bytes
}

fn numbers(bytes: &[u8]) -> Vec<f64> {
    let mut out = Vec::new();
    Array::parse(bytes, "a.npy", LIMIT).unwrap().each(|_, x| out.push(x));
    out
}

fn error_of(bytes: &[u8]) -> DataError {
    match Array::parse(bytes, "a.npy", LIMIT) {
        Err(error) => error,
        Ok(array) => array.inputs().unwrap_err(),
    }
}

macro_rules! element_types {
    ($($name:ident: $type:ty, $code:literal, $values:expr;)+) => {$(
        #[test]
        fn $name() {
            let values: [$type; 3] = $values;
            let expected: Vec<f64> = values.iter().map(|&x| x as f64).collect();
            let little: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            let big: Vec<u8> = values.iter().flat_map(|x| x.to_be_bytes()).collect();
            assert_eq!(numbers(&npy(concat!("<", $code), "False", "(3,)", &little)), expected);
            assert_eq!(numbers(&npy(concat!(">", $code), "False", "(3,)", &big)), expected);
        }
    )+};
}
element_types! {
    unsigned_1: u8, "u1", [0, 7, 255];
    unsigned_2: u16, "u2", [0, 300, 65535];
    unsigned_4: u32, "u4", [0, 70000, u32::MAX];
    unsigned_8: u64, "u8", [0, 1 << 40, 5];
    signed_1: i8, "i1", [-128, 0, 127];
    signed_2: i16, "i2", [-300, 0, 300];
    signed_4: i32, "i4", [i32::MIN, -1, 9];
    signed_8: i64, "i8", [-(1 << 40), -1, 9];
    float_4: f32, "f4", [-0.5, 1e30, 3.25];
    float_8: f64, "f8", [-0.5, 1e300, 0.1];
}

#[test]
fn booleans_and_other_spellings() {
    assert_eq!(numbers(&npy("|b1", "False", "(3,)", &[0, 1, 1])), [0.0, 1.0, 1.0]);
    assert_eq!(numbers(&npy("|u1", "False", "(3L,)", &[1, 2, 3])), [1.0, 2.0, 3.0]);
    assert_eq!(numbers(&npy("|u1", "False", "()", &[4])), [4.0]);
}

#[test]
fn fortran_order_is_transposed() {
    // [[0, 1, 2], [3, 4, 5]] by columns
    assert_eq!(numbers(&npy("|u1", "True", "(2, 3)", &[0, 3, 1, 4, 2, 5])), [0., 1., 2., 3., 4., 5.]);
    let cube: Vec<f64> = (0..24).map(f64::from).collect();
    let mut by_columns = vec![0; 24];
    for (i, j, k) in (0..24).map(|n| (n / 12, n / 4 % 3, n % 4)) {
        by_columns[i + 2 * j + 6 * k] = (i * 12 + j * 4 + k) as u8;
    }
    assert_eq!(numbers(&npy("|u1", "True", "(2, 3, 4)", &by_columns)), cube);
}

#[test]
fn shapes() {
    let image =
        |shape: &str| Array::parse(&npy("|u1", "False", shape, &[9; 12]), "a", LIMIT).unwrap().inputs();
    for (shape, found) in
        [("(2, 2, 3)", (2, 3)), ("(2, 2, 3, 1)", (2, 3)), ("(2, 1, 2, 3)", (2, 3)), ("(3, 4, 1)", (4, 1))]
    {
        assert_eq!(image(shape).unwrap().image, Some(found), "{shape}");
    }
    assert_eq!(image("(2, 6)").unwrap().image, None);
    for bad in ["(12,)", "(1, 2, 2, 3)", "(1, 1, 1, 1, 12)"] {
        assert!(matches!(image(bad), Err(DataError::UnsupportedShape { .. })), "{bad}");
    }
    for none in ["(0, 5)", "(5, 0)", "(0, 18446744073709551615)"] {
        let bytes = npy("|u1", "False", none, &[]);
        let error = error_of(&bytes);
        assert!(matches!(error, DataError::UnsupportedShape { .. } | DataError::TooLarge { .. }), "{error}");
    }
    let labels = |shape: &str| {
        Array::parse(&npy("|u1", "False", shape, &[1; 6]), "a", LIMIT)
            .unwrap()
            .labels(&LoadOptions::default())
    };
    assert!(labels("(6,)").is_ok() && labels("(3, 2)").is_ok() && labels("(1, 2, 3)").is_err());
}

#[test]
fn bad_files() {
    use DataError as E;
    let good = npy("<f4", "False", "(1, 2)", &[0; 8]);
    assert!(matches!(error_of(&[]), E::Empty { .. }));
    assert!(matches!(error_of(b"hello"), E::Corrupt { .. }));
    assert!(matches!(error_of(&good[..8]), E::Corrupt { .. }));
    assert!(matches!(error_of(&good[..30]), E::Corrupt { .. }));
    assert!(matches!(error_of(&good[..good.len() - 1]), E::Truncated { expected: 8, found: 7, .. }));
    assert!(matches!(error_of(&[&good[..], &[1]].concat()), E::TrailingBytes { .. }));
    for dtype in
        ["|O", "<c8", "<f16", "<U0", "|S0", "<U99999999999999999999", "<U4611686018427387905", "?", ""]
    {
        let error = error_of(&npy(dtype, "False", "(1, 2)", &[0; 8]));
        assert!(matches!(error, E::UnsupportedDtype { .. }), "{dtype}: {error}");
    }
    let huge = npy("<f8", "False", "(4294967296, 784)", &[]);
    assert!(error_of(&huge).to_string().contains("4294967296"), "{}", error_of(&huge));
    for bad in [f32::NAN, f32::INFINITY] {
        let data: Vec<u8> = [1.0, bad].iter().flat_map(|x| x.to_le_bytes()).collect();
        let error = error_of(&npy("<f4", "False", "(1, 2)", &data)).to_string();
        assert!(error.contains("sample 0, feature 1") && error.contains("not finite"), "{error}");
    }
    // Finite as f64, but not as f32.
    assert!(matches!(error_of(&npy("<f8", "False", "(1, 1)", &1e300f64.to_le_bytes())), E::NonFinite { .. }));
}

#[test]
fn a_structured_type_is_named() {
    let mut bytes = npy("<f4", "False", "(1, 2)", &[0; 8]);
    let text = "{'descr': [('a', '<f4'), ('b', '<i4')], 'fortran_order': False, 'shape': (1,), }";
    bytes.splice(8.., (text.len() as u16).to_le_bytes().into_iter().chain(text.bytes()).chain([0; 8]));
    let error = error_of(&bytes);
    assert!(matches!(&error, DataError::UnsupportedDtype { dtype, .. } if dtype.contains("('b'")), "{error}");
}

proptest! {
    #[test]
    fn headers_never_panic(text in "\\PC{0,60}|[{}()\\[\\]'\":, a-z0-9]{0,60}") {
        let _ = Header::parse(&text);
        let _ = dtype(&text);
    }

    #[test]
    fn changed_files_never_panic(at in 0usize..144, to: u8, cut in 0usize..150, fortran: bool) {
        let order = if fortran { "True" } else { "False" };
        let mut bytes = npy("<i2", order, "(2, 2, 2)", &[3; 16]);
        let last = bytes.len() - 1;
        bytes[at.min(last)] = to;
        for end in [bytes.len(), cut.min(bytes.len())] {
            if let Ok(array) = Array::parse(&bytes[..end], "a", LIMIT) {
                let _ = (array.inputs(), array.labels(&LoadOptions::default()));
            }
        }
    }
}
