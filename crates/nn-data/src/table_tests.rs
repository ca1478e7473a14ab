//! Tests of CSV reading.

use proptest::prelude::*;

use super::*;

fn open(text: &str) -> Table<'_> {
    Table::open(text.as_bytes(), "t.csv", Header::Auto).unwrap()
}

fn error_of(text: &str) -> DataError {
    let read = || {
        let table = Table::open(text.as_bytes(), "t.csv", Header::Auto)?;
        table.read(Some(table.label_column(None)?))
    };
    read().unwrap_err()
}

#[test]
fn a_header_is_recognised() {
    assert!(open("a,b,label\n1,2,x\n").has_header());
    assert!(!open("1,2,x\n3,4,y\n").has_header());
    assert!(!open("1,2,3\n").has_header());
    assert!(open("\u{feff}a;b\r\n1;2\r\n").has_header());
    let forced = Table::open(b"1,2\n3,4\n", "t", Header::Yes).unwrap();
    assert_eq!((forced.column_name(1), forced.columns()), ("1 (`2`)".into(), 2));
    assert!(!Table::open(b"a,b\n1,2\n", "t", Header::No).unwrap().has_header());
}

#[test]
fn the_label_column_is_found() {
    let pixels = |first: u8, rest: u8, last: u8| {
        let row = |label: u8, tail: u8| format!("{label},{}{tail}\n", format!("{rest},").repeat(63));
        row(first, last) + &row(0, 0)
    };
    for (text, at) in [
        ("a,Label,b\n1,2,3\n", 1),
        ("y,a,b\n1,2,3\n", 0),
        ("1,2,setosa\n3,4,virginica\n", 2),
        ("dog,2,3\ncat,4,3\n", 0),
        ("1,2,3\n4,5,6\n", 2),
        (&pixels(5, 9, 0), 0),  // the first column varies: MNIST as CSV
        (&pixels(0, 9, 7), 64), // the first column is constant: the UCI digits
    ] {
        assert_eq!(open(text).label_column(None).unwrap(), at, "{text}");
    }
    let table = open("a,b,1\n7,8,9\n");
    for (wanted, at) in [("a", 0), ("B", 1), ("1", 2), ("0", 0), ("-1", 2), ("-3", 0)] {
        assert_eq!(table.label_column(Some(wanted)).unwrap(), at, "{wanted}");
    }
    for bad in ["c", "3", "-4", ""] {
        let error = table.label_column(Some(bad)).unwrap_err();
        assert_eq!(error.kind(), crate::Kind::Usage);
        assert!(error.to_string().contains("a, b, 1"), "{error}");
    }
}

#[test]
fn values_and_labels() {
    let table = open("a\tb\tlabel\n 1 \t-2.5\tx y\n\n3\t1e2\t\"z\"\n");
    let (inputs, labels) = table.read(Some(2)).unwrap();
    assert_eq!((inputs.samples, inputs.width), (2, 2));
    assert_eq!(inputs.values, Values::Floats(vec![1.0, -2.5, 3.0, 100.0]));
    let labels = labels.unwrap();
    assert_eq!(labels.answers, Answers::Text(vec!["x y".into(), "z".into()]));
    assert_eq!((labels.places.of(0), labels.places.of(1)), ("line 2".into(), "line 4".into()));
    let (inputs, labels) = open("1,2\n3,255\n").read(None).unwrap();
    assert_eq!((inputs.values, inputs.width), (Values::Bytes(vec![1, 2, 3, 255]), 2));
    assert!(labels.is_none());
}

#[test]
fn bad_tables() {
    for (text, says) in [
        ("", "t.csv is empty"),
        ("\n\n", "t.csv is empty"),
        ("a,b\n", "no rows"),
        ("1\n2\n", "only one column"),
        ("a,b\n1,2\n1,2,3\n", "line 3: 3 cells, but line 1 has 2"),
        ("a,b\n1,2\n\n1\n", "line 4: 1 cell, but line 1 has 2"),
        ("a,b,y\n1,two,0\n3,4,0\n", "line 2, column 1 (`b`): `two` is not a number"),
        ("a,b\n1,2\n,4\n", "line 3, column 0 (`a`): the cell is empty"),
        ("a,b\n1,2\n1,\n", "line 3, column 1 (`b`): the cell is empty"),
        ("a,b\nnan,2\n", "line 2, column 0 (`a`): the value is not finite"),
        ("a,b\n1,2\ninf,2\n", "line 3, column 0 (`a`): the value is not finite"),
        ("a,b\n1e99,2\n", "not finite"),
        ("a,b\n1,2\n1,NaN\n", "line 3, column 1 (`b`): the value is not finite"),
    ] {
        let error = error_of(text).to_string();
        assert!(error.contains(says), "{text:?} gave: {error}");
    }
    let latin = Table::open(b"a,y\n1,caf\xe9\n", "t", Header::Auto).unwrap();
    assert!(matches!(latin.read(Some(1)), Err(DataError::NotUtf8 { line: 2, .. })));
    let long = format!("a,b,y\n1,2,3\n{},2,3\n", "x".repeat(1000));
    assert!(error_of(&long).to_string().len() < 300);
}

proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..4) {
        if let Ok(table) = Table::open(&bytes, "t", Header::Auto) {
            let _ = (table.label_column(None), table.label_column(Some("-1")));
            let _ = (table.read(None), table.read(Some(at.min(table.columns() - 1))));
        }
    }

    #[test]
    fn never_panics_on_nearly_a_table(text in "([0-9.,;\n\"\t a-]{0,8}\n?){0,20}") {
        if let Ok(table) = Table::open(text.as_bytes(), "t", Header::Auto) {
            let _ = table.label_column(None).and_then(|label| table.read(Some(label)));
        }
    }
}
