//! Tests of CSV reading.

use proptest::prelude::*;

use super::*;

fn open(text: &str) -> Table {
    try_open(text.as_bytes(), Header::Auto).unwrap()
}

fn try_open(bytes: &[u8], header: Header) -> Result<Table, DataError> {
    Table::open(bytes.to_vec(), "t.csv", &LoadOptions { header, ..Default::default() }, None)
}

fn label_of(table: &Table, wanted: Option<&str>) -> Result<usize, DataError> {
    table.label_columns(wanted).map(|(columns, _)| columns[0])
}

fn error_of(text: &str) -> DataError {
    let read = || {
        let table = try_open(text.as_bytes(), Header::Auto)?;
        table.read(Some(label_of(&table, None)?), &[])
    };
    read().unwrap_err()
}

#[test]
fn a_header_is_recognised() {
    assert!(open("a,b,label\n1,2,x\n").has_header());
    assert!(!open("1,2,x\n3,4,y\n").has_header());
    assert!(!open("1,2,3\n").has_header());
    assert!(open("0,1,2,3,4\n5,6,7,8,9\n").has_header(), "it counts the columns");
    assert!(!open("0,1,2,3\n5,6,7,8\n").has_header(), "too few to tell");
    assert!(open("a,b\nNA,x\n1,x\n").has_header(), "a missing value is no name");
    let words = "size,colour\n".to_owned() + &"big,red\nsmall,blue\n".repeat(5);
    assert!(open(&words).has_header(), "its words do not occur again");
    let known = ["size".to_owned(), "colour".to_owned()];
    let two = Table::open(b"colour,size\nred,big\n".to_vec(), "t", &LoadOptions::default(), Some(&known));
    assert!(two.unwrap().has_header(), "a model knows the names");
    assert!(open("\u{feff}a;b\r\n1;2\r\n").has_header());
    let forced = try_open(b"1,2\n3,4\n", Header::Yes).unwrap();
    assert_eq!((forced.column_name(1), forced.columns()), ("1 (`2`)".into(), 2));
    assert!(!try_open(b"a,b\n1,2\n", Header::No).unwrap().has_header());
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
        assert_eq!(label_of(&open(text), None).unwrap(), at, "{text}");
    }
    let table = open("a,b,1\n7,8,9\n");
    for (wanted, at) in [("a", 0), ("B", 1), ("1", 2), ("0", 0), ("-1", 2), ("-3", 0)] {
        assert_eq!(label_of(&table, Some(wanted)).unwrap(), at, "{wanted}");
    }
    for bad in ["c", "3", "-4", ""] {
        let error = label_of(&table, Some(bad)).unwrap_err();
        assert_eq!(error.kind(), crate::Kind::Usage);
        assert!(error.to_string().contains("a, b, 1"), "{error}");
    }
}

#[test]
fn values_and_labels() {
    let table = open("a\tb\tlabel\n 1 \t-2.5\tx y\n\n3\t1e2\t\"z\"\n");
    let (inputs, labels) = table.read(Some(2), &[]).unwrap();
    assert_eq!((inputs.samples, inputs.width), (2, 2));
    assert_eq!(inputs.values, Values::Floats(vec![1.0, -2.5, 3.0, 100.0]));
    let labels = labels.unwrap();
    assert_eq!(labels.answers, Answers::Text(vec!["x y".into(), "z".into()]));
    assert_eq!((labels.places.of(0), labels.places.of(1)), ("line 2".into(), "line 4".into()));
    let (inputs, labels) = open("1,2\n3,255\n").read(None, &[]).unwrap();
    assert_eq!((inputs.values, inputs.width), (Values::Bytes(vec![1, 2, 3, 255]), 2));
    assert!(labels.is_none());
}

#[test]
fn delimiters_at_the_end_of_lines_make_no_column() {
    for text in ["a,b,label\n1,2,x,\n3,4,y,\n", "a,b,label,\n1,2,x,\n3,4,y,\n", "1,2,x,\n3,4,y,\n"] {
        let table = open(text);
        assert_eq!((table.columns(), label_of(&table, None).unwrap()), (3, 2), "{text}");
        assert_eq!(table.read(Some(2), &[]).unwrap().0.samples, 2, "{text}");
    }
}

#[test]
fn delimiters_and_decimals_are_detected_where_that_is_certain() {
    for (text, delimiter, decimal) in [
        ("a;b\n1,5;2\n", b';', Decimal::Comma),
        ("a;b\n1.5;2\n", b';', Decimal::Point),
        ("a;b\n1,5;2.5\n", b';', Decimal::Point),
        ("a\tb\n1,5\t2\n", b'\t', Decimal::Comma),
        ("a|b\n1|2\n", b'|', Decimal::Point),
        ("a,b\n1,2\n", b',', Decimal::Point),
        ("x, y;b\n1;2\n", b';', Decimal::Point),
        ("sep=|\na|b\n1|2\n", b'|', Decimal::Point),
    ] {
        let table = open(text);
        assert_eq!((table.delimiter, table.decimal), (delimiter, decimal), "{text}");
    }
    let given = LoadOptions { delimiter: Some(b':'), decimal: Some(Decimal::Comma), ..Default::default() };
    let table = Table::open(b"a:b\n1,5:2\n".to_vec(), "t", &given, None).unwrap();
    assert_eq!(table.read(None, &[]).unwrap().0.values, Values::Floats(vec![1.5, 2.0]));
}

#[test]
fn labels_that_an_f64_cannot_tell_apart_are_names() {
    let table = open("a,label\n1,9007199254740993\n2,9007199254740994\n");
    let labels = table.read(Some(1), &[]).unwrap().1.unwrap();
    assert_eq!(labels.answers, Answers::Text(vec!["9007199254740993".into(), "9007199254740994".into()]));
}

#[test]
fn columns_are_found_by_name_or_refused() {
    let table = open("x,y,x\n1,2,3\n");
    let error = label_of(&table, Some("x")).unwrap_err();
    assert!(matches!(error, DataError::AmbiguousColumn { first: 0, second: 2, .. }), "{error}");
    let several = open("a,b,c\n1,2,3\n").label_columns(Some("c, a")).unwrap().0;
    assert_eq!(several, [2, 0]);
    assert!(matches!(open("a,b\n1,2\n").label_columns(Some("a,b")), Err(DataError::OneColumn { .. })));
    assert!(matches!(open("a,b,c\n1,2,3\n").label_columns(Some("a,0")), Err(DataError::ColumnTwice { .. })));
}

#[test]
fn comments_before_the_table_are_counted_as_lines() {
    let table = open("# made by me\n# and by you\na,b\n1,2\n3,x\n");
    let error = table.read(None, &[]).unwrap_err().to_string();
    assert!(error.contains("line 5, column 1 (`b`)"), "{error}");
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
        ("a,b\n1,2\n3,4,\n5,6,7\n", "line 4: 3 cells, but line 1 has 2"),
        ("a,b\nnan,2\n", "line 2, column 0 (`a`): the value is not finite"),
        ("a,b\n1,2\ninf,2\n", "line 3, column 0 (`a`): the value is not finite"),
        ("a,b\n1e99,2\n", "not finite"),
        ("a,b\n1,2\n1,NaN\n", "line 3, column 1 (`b`): the value is not finite"),
    ] {
        let error = error_of(text).to_string();
        assert!(error.contains(says), "{text:?} gave: {error}");
    }
    let latin = try_open(b"a,y\n1,caf\xe9\n", Header::Auto).unwrap();
    assert!(matches!(latin.read(Some(1), &[]), Err(DataError::NotUtf8 { line: 2, .. })));
    let long = format!("a,b,y\n1,2,3\n{},2,3\n", "x".repeat(1000));
    assert!(error_of(&long).to_string().len() < 300);
}

proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..4) {
        if let Ok(table) = try_open(&bytes, Header::Auto) {
            let _ = (label_of(&table, None), label_of(&table, Some("-1")));
            let _ = (table.read(None, &[]), table.read(Some(at.min(table.columns() - 1)), &[]), table.profiles());
        }
    }

    #[test]
    fn never_panics_on_nearly_a_table(text in "([0-9.,;\n\"\t a-]{0,8}\n?){0,20}") {
        if let Ok(table) = try_open(text.as_bytes(), Header::Auto) {
            let _ = label_of(&table, None).and_then(|label| table.read(Some(label), &[]));
            let _ = table.profiles();
        }
    }
}
