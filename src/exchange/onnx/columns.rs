//! The columns of a table as inputs of a graph, and their preparation as its first nodes: what [`Preparation`] does, in the same
//! arithmetic.

use nn_data::{ColumnEncoding, Part, Preparation, Scaled, missing_spellings};

use super::graph::{Graph, ML, Value};
use super::proto::data_type;

const DAY: f64 = 86_400.0;

/// Columns of one kind, with what they have given so far.
#[derive(Default)]
struct Block {
    /// The values that are joined: one a column.
    values: Vec<String>,
    /// What stands in for a missing one.
    medians: Vec<f64>,
}

/// The network's inputs in the making.
struct Inputs {
    /// Values of f32 with some columns each.
    blocks: Vec<String>,
    /// The columns of all blocks so far.
    width: usize,
    /// For each input of the network, the column among those of all blocks.
    places: Vec<i64>,
}

impl Inputs {
    fn add(&mut self, block: String, width: usize) -> usize {
        self.blocks.push(block);
        self.width += width;
        self.width - width
    }
}

/// Adds the columns and their preparation to a graph; returns the name of the network's inputs.
pub(super) fn prepared(graph: &mut Graph, preparation: &Preparation) -> String {
    let mut inputs = Inputs { blocks: Vec::new(), width: 0, places: vec![0; preparation.inputs()] };
    let (mut numbers, mut dates) = (Block::default(), Block::default());
    // The network's inputs that come from numbers and from dates: the first of each column, with its column.
    let (mut of_numbers, mut of_dates) = (Vec::new(), Vec::new());
    let mut at = 0;
    for column in &preparation.columns {
        let name = column_name(preparation, column.position);
        let encoding = &column.encoding;
        match encoding {
            _ if encoding.inputs() == 0 => {} // a column that has nothing to say
            ColumnEncoding::Number { median, .. } => {
                numbers.values.push(graph.input(
                    &name,
                    data_type::DOUBLE,
                    &[1],
                    "a number; NaN if it is missing",
                ));
                numbers.medians.push(*median);
                of_numbers.push((at, encoding));
            }
            ColumnEncoding::Date { median, pattern, .. } => {
                let about = if pattern.contains("%d") {
                    "a date in whole seconds from 1970-01-01 by its own clock; NaN if it is missing"
                } else {
                    "a time in whole seconds from midnight; NaN if it is missing"
                };
                dates.values.push(graph.input(&name, data_type::DOUBLE, &[1], about));
                // `Part::of` takes whole seconds.
                dates.medians.push(median.trunc());
                of_dates.push((at, encoding));
            }
            ColumnEncoding::Category { values, missing, other } => {
                let about = "a text; empty, or a word for it such as NA, if it is missing";
                let text = graph.input(&name, data_type::STRING, &[1], about);
                let width = encoding.inputs();
                let block = category(graph, &text, values, *missing, *other);
                let first = inputs.add(block, width);
                for input in 0..width {
                    inputs.places[at + input] = (first + input) as i64;
                }
            }
        }
        at += encoding.inputs();
    }
    if !of_numbers.is_empty() {
        add_numbers(graph, &numbers, &of_numbers, &mut inputs);
    }
    if !of_dates.is_empty() {
        add_dates(graph, &dates, &of_dates, &mut inputs);
    }
    let all: Vec<&str> = inputs.blocks.iter().map(String::as_str).collect();
    let joined = graph.node("Concat", "prepared.parts", &all, &[("axis", Value::Int(1))]);
    let in_order =
        inputs.width == inputs.places.len() && inputs.places.iter().copied().eq(0..inputs.width as i64);
    if in_order {
        return joined;
    }
    let places = graph.whole("prepared.order", &inputs.places);
    graph.node("Gather", "prepared", &[&joined, &places], &[("axis", Value::Int(1))])
}

/// The name of a column in the graph: its own, or its position.
pub(super) fn column_name(preparation: &Preparation, position: usize) -> String {
    let name = preparation.names.as_ref().and_then(|names| names.get(position));
    name.filter(|name| !name.trim().is_empty()).cloned().unwrap_or_else(|| format!("column {position}"))
}

/// One input for each value, for missing ones and for others; the name of `[batch, inputs]`.
fn category(graph: &mut Graph, text: &str, values: &[String], missing: bool, other: bool) -> String {
    let mut keys = values.to_vec();
    let mut codes: Vec<i64> = (0..values.len() as i64).collect();
    let mut width = values.len() as i64;
    // A code beyond the inputs sets none of them.
    let nothing = -1;
    let code = if missing { width } else { nothing };
    width += i64::from(missing);
    let rest = if other { width } else { nothing };
    width += i64::from(other);
    if code != rest {
        for word in missing_spellings() {
            keys.push(word);
            codes.push(code);
        }
    }
    let encoder = [
        ("keys_strings", Value::Strings(&keys)),
        ("values_int64s", Value::Ints(&codes)),
        ("default_int64", Value::Int(rest)),
    ];
    let code = graph.node_of(ML, "LabelEncoder", &format!("{text}.code"), &[text], &encoder);
    let each = graph.whole(&format!("{text}.codes"), &(0..width).collect::<Vec<_>>());
    let equal = graph.node("Equal", &format!("{text}.is"), &[&code, &each], &[]);
    to_float(graph, &format!("{text}.inputs"), &equal)
}

fn to_float(graph: &mut Graph, name: &str, value: &str) -> String {
    graph.node("Cast", name, &[value], &[("to", Value::Int(i64::from(data_type::FLOAT)))])
}

/// Joins the columns of a block; returns them with medians for what is missing, and whether each was missing.
fn filled(graph: &mut Graph, what: &str, block: &Block) -> (String, String) {
    let columns: Vec<&str> = block.values.iter().map(String::as_str).collect();
    let joined = graph.node("Concat", what, &columns, &[("axis", Value::Int(1))]);
    let missing = graph.node("IsNaN", &format!("{what}.missing"), &[&joined], &[]);
    let medians = graph.doubles(&format!("{what}.medians"), &[block.medians.len()], &block.medians);
    (graph.node("Where", &format!("{what}.filled"), &[&missing, &medians, &joined], &[]), missing)
}

/// ((x − mean) / deviation) as f32, kept finite.
fn standardised(graph: &mut Graph, what: &str, values: &str, scales: &[(f64, f64)]) -> String {
    let (means, deviations): (Vec<f64>, Vec<f64>) = scales.iter().copied().unzip();
    let means = graph.doubles(&format!("{what}.means"), &[scales.len()], &means);
    let deviations = graph.doubles(&format!("{what}.deviations"), &[scales.len()], &deviations);
    let centred = graph.node("Sub", &format!("{what}.centred"), &[values, &means], &[]);
    let scaled = graph.node("Div", &format!("{what}.scaled"), &[&centred, &deviations], &[]);
    let float = to_float(graph, &format!("{what}.float"), &scaled);
    let (least, most) = (graph.floats("least", &[], &[f32::MIN]), graph.floats("most", &[], &[f32::MAX]));
    graph.node("Clip", &format!("{what}.standardised"), &[&float, &least, &most], &[])
}

/// Puts the inputs that say what was missing in their places, if there are any.
fn add_missing(
    graph: &mut Graph,
    what: &str,
    missing: &str,
    of: &[(usize, &ColumnEncoding)],
    inputs: &mut Inputs,
) {
    let says = |encoding: &ColumnEncoding| match encoding {
        ColumnEncoding::Number { missing, .. } | ColumnEncoding::Date { missing, .. } => *missing,
        ColumnEncoding::Category { .. } => false,
    };
    if !of.iter().any(|(_, encoding)| says(encoding)) {
        return;
    }
    let block = to_float(graph, &format!("{what}.missing.float"), missing);
    let first = inputs.add(block, of.len());
    for (column, (at, encoding)) in of.iter().enumerate() {
        if says(encoding) {
            inputs.places[at + encoding.inputs() - 1] = (first + column) as i64;
        }
    }
}

fn add_numbers(graph: &mut Graph, block: &Block, of: &[(usize, &ColumnEncoding)], inputs: &mut Inputs) {
    let (values, missing) = filled(graph, "numbers", block);
    let scale = |(_, encoding): &(usize, &ColumnEncoding)| match encoding {
        ColumnEncoding::Number { mean, deviation, .. } => (*mean, *deviation),
        _ => (0.0, 1.0),
    };
    let scales: Vec<(f64, f64)> = of.iter().map(scale).collect();
    let standard = standardised(graph, "numbers", &values, &scales);
    let first = inputs.add(standard, of.len());
    for (column, (at, _)) in of.iter().enumerate() {
        inputs.places[*at] = (first + column) as i64;
    }
    add_missing(graph, "numbers", &missing, of, inputs);
}

fn add_dates(graph: &mut Graph, block: &Block, of: &[(usize, &ColumnEncoding)], inputs: &mut Inputs) {
    let (seconds, missing) = filled(graph, "dates", block);
    let mut calendar = Calendar { graph: &mut *graph, constants: 0 };
    let parts = calendar.parts(&seconds);
    for (part, values) in Part::ALL.into_iter().zip(parts) {
        // The scale of each column; those that lack this part are computed and not used.
        let scaled = |encoding: &ColumnEncoding| match encoding {
            ColumnEncoding::Date { parts, .. } => parts.iter().position(|scaled| scaled.part == part),
            _ => None,
        };
        if of.iter().all(|(_, encoding)| scaled(encoding).is_none()) {
            continue;
        }
        let scale = |(_, encoding): &(usize, &ColumnEncoding)| match encoding {
            ColumnEncoding::Date { parts, .. } => match parts.iter().find(|scaled| scaled.part == part) {
                Some(Scaled { mean, deviation, .. }) => (*mean, *deviation),
                None => (0.0, 1.0),
            },
            _ => (0.0, 1.0),
        };
        let scales: Vec<(f64, f64)> = of.iter().map(scale).collect();
        let standard = standardised(graph, &format!("dates.{}", part.name()), &values, &scales);
        let first = inputs.add(standard, of.len());
        for (column, (at, encoding)) in of.iter().enumerate() {
            if let Some(input) = scaled(encoding) {
                inputs.places[at + input] = (first + column) as i64;
            }
        }
    }
    add_missing(graph, "dates", &missing, of, inputs);
}

/// Arithmetic on whole numbers in f64, in which all of it is exact.
struct Calendar<'a> {
    graph: &'a mut Graph,
    constants: usize,
}

impl Calendar<'_> {
    fn with(&mut self, op: &str, value: &str, constant: f64) -> String {
        self.constants += 1;
        let constant = self.graph.doubles(&format!("dates.constant.{}", self.constants), &[], &[constant]);
        self.graph.node(op, "dates.step", &[value, &constant], &[])
    }

    fn of(&mut self, op: &str, left: &str, right: &str) -> String {
        self.graph.node(op, "dates.step", &[left, right], &[])
    }

    /// ⌊value / by⌋
    fn floor(&mut self, value: &str, by: f64) -> String {
        let quotient = self.with("Div", value, by);
        self.graph.node("Floor", "dates.step", &[&quotient], &[])
    }

    /// value − by · quotient
    fn rest(&mut self, value: &str, by: f64, quotient: &str) -> String {
        let product = self.with("Mul", quotient, by);
        self.of("Sub", value, &product)
    }

    /// ⌊years / 4⌋ − ⌊years / 100⌋, the leap days of those years within four centuries.
    fn leap_days(&mut self, years: &str) -> String {
        let (fourth, hundredth) = (self.floor(years, 4.0), self.floor(years, 100.0));
        self.of("Sub", &fourth, &hundredth)
    }

    /// The values of [`Part::ALL`] of moments in seconds from 1970. The date is that of Howard Hinnant's `civil_from_days`, whose
    /// years begin in March, so that the leap day is their last.
    fn parts(&mut self, seconds: &str) -> [String; 5] {
        let days = self.floor(seconds, DAY);
        let rest = self.rest(seconds, DAY, &days);
        let hour = self.with("Div", &rest, 3600.0);

        let from_monday = self.with("Add", &days, 3.0);
        let weeks = self.floor(&from_monday, 7.0);
        let weekday = self.rest(&from_monday, 7.0, &weeks);
        let weekday = self.with("Add", &weekday, 1.0);

        let shifted = self.with("Add", &days, 719_468.0); // from 0000-03-01
        let era = self.floor(&shifted, 146_097.0); // of 400 years
        let day_of_era = self.rest(&shifted, 146_097.0, &era);
        let (four, hundred, all) = (
            self.floor(&day_of_era, 1460.0),
            self.floor(&day_of_era, 36_524.0),
            self.floor(&day_of_era, 146_096.0),
        );
        let without = self.of("Sub", &day_of_era, &four);
        let without = self.of("Add", &without, &hundred);
        let without = self.of("Sub", &without, &all);
        let year_of_era = self.floor(&without, 365.0);
        let leap = self.leap_days(&year_of_era);
        let before = self.rest(&day_of_era, 365.0, &year_of_era);
        let day_of_year = self.of("Sub", &before, &leap); // from the first of March
        let fives = self.with("Mul", &day_of_year, 5.0);
        let fives = self.with("Add", &fives, 2.0);
        let month_from_march = self.floor(&fives, 153.0);
        let to_month = self.with("Mul", &month_from_march, 153.0);
        let to_month = self.with("Add", &to_month, 2.0);
        let to_month = self.floor(&to_month, 5.0);
        let day = self.of("Sub", &day_of_year, &to_month);
        let day = self.with("Add", &day, 1.0);

        // 1 from January on, when the next year of the calendar has begun.
        let is_next = self.with("Add", &month_from_march, 2.0);
        let is_next = self.floor(&is_next, 12.0);
        let month = self.with("Add", &month_from_march, 3.0);
        let month = self.rest(&month, 12.0, &is_next);
        let eras = self.with("Mul", &era, 400.0);
        let year = self.of("Add", &year_of_era, &eras);
        let year = self.of("Add", &year, &is_next);

        // The days of the calendar's year before this one.
        let last_year = self.with("Add", &year, -1.0);
        let leap = self.leap_days(&last_year);
        let fourth = self.floor(&last_year, 400.0);
        let leap = self.of("Add", &leap, &fourth);
        let first = self.with("Mul", &last_year, 365.0);
        let first = self.of("Add", &first, &leap);
        let first = self.with("Add", &first, -719_162.0); // from 1970
        let passed = self.of("Sub", &days, &first);
        let passed = self.with("Div", &passed, 366.0);
        let year = self.of("Add", &year, &passed);
        [year, month, day, weekday, hour]
    }
}
