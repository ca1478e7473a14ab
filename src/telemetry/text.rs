//! The text format of Prometheus (version 0.0.4): families of samples with help and type.

use std::fmt::Write as _;

/// The media type of the format.
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The kind of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A text that grows family by family.
#[derive(Debug, Default)]
pub(crate) struct Exposition(String);

impl Exposition {
    /// Begins a family. Its name has the base unit, and that of a counter ends in `_total`.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds a sample.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{}\"", if at == 0 { '{' } else { ',' }, escaped(text));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = match value {
            value if value == f64::INFINITY => writeln!(self.0, " +Inf"),
            value if value == f64::NEG_INFINITY => writeln!(self.0, " -Inf"),
            value => writeln!(self.0, " {value}"),
        };
    }

    /// A family with one sample without labels.
    pub(super) fn one(&mut self, name: &str, kind: Kind, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// A family with a histogram.
    pub(super) fn histogram(&mut self, name: &str, help: &str, limits: &[f64], histogram: &Histogram) {
        self.family(name, Kind::Histogram, help);
        self.counts(name, &[], limits, histogram);
    }

    /// Adds a histogram: for each limit how many values are at most as large, all values, and their sum.
    pub(super) fn counts(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        limits: &[f64],
        histogram: &Histogram,
    ) {
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        for (at, limit) in limits.iter().enumerate() {
            // Before the first value there are no counts.
            below += histogram.counts.get(at).copied().unwrap_or(0);
            self.sample(&bucket, &[labels, &[("le", &limit.to_string())]].concat(), below as f64);
        }
        self.sample(&bucket, &[labels, &[("le", "+Inf")]].concat(), histogram.count as f64);
        self.sample(&format!("{name}_sum"), labels, histogram.sum);
        self.sample(&format!("{name}_count"), labels, histogram.count as f64);
    }

    /// The text.
    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// A label's value: what would end it or the line is escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Values by intervals.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Histogram {
    /// Values above the limit before and at most the limit.
    pub(super) counts: Vec<u64>,
    /// All values.
    pub(super) count: u64,
    pub(super) sum: f64,
}

impl Histogram {
    /// Counts a value.
    pub(super) fn count(&mut self, limits: &[f64], value: f64) {
        self.counts.resize(limits.len(), 0);
        if let Some(at) = limits.iter().position(|&limit| value <= limit) {
            self.counts[at] += 1;
        }
        self.count += 1;
        self.sum += value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_written_as_prometheus_reads_them() {
        let mut text = Exposition::default();
        text.one("nn_loss", Kind::Gauge, "Loss.", f64::NAN);
        text.family("nn_workers", Kind::Gauge, "Workers.");
        text.sample("nn_workers", &[("name", "a\"b\\c\nd"), ("state", "idle")], 3.0);
        text.sample("nn_workers", &[], f64::INFINITY);
        let limits = [0.5, 1.0];
        let mut histogram = Histogram::default();
        [0.25, 0.5, 0.75, 2.0].into_iter().for_each(|value| histogram.count(&limits, value));
        text.histogram("nn_step_duration_seconds", "Steps.", &limits, &histogram);
        text.counts("nn_step_duration_seconds", &[("route", "/")], &limits, &Histogram::default());
        assert_eq!(
            text.into_text(),
            "# HELP nn_loss Loss.\n# TYPE nn_loss gauge\nnn_loss NaN\n\
             # HELP nn_workers Workers.\n# TYPE nn_workers gauge\n\
             nn_workers{name=\"a\\\"b\\\\c\\nd\",state=\"idle\"} 3\nnn_workers +Inf\n\
             # HELP nn_step_duration_seconds Steps.\n# TYPE nn_step_duration_seconds histogram\n\
             nn_step_duration_seconds_bucket{le=\"0.5\"} 2\nnn_step_duration_seconds_bucket{le=\"1\"} 3\n\
             nn_step_duration_seconds_bucket{le=\"+Inf\"} 4\nnn_step_duration_seconds_sum 3.5\n\
             nn_step_duration_seconds_count 4\n\
             nn_step_duration_seconds_bucket{route=\"/\",le=\"0.5\"} 0\n\
             nn_step_duration_seconds_bucket{route=\"/\",le=\"1\"} 0\n\
             nn_step_duration_seconds_bucket{route=\"/\",le=\"+Inf\"} 0\n\
             nn_step_duration_seconds_sum{route=\"/\"} 0\nnn_step_duration_seconds_count{route=\"/\"} 0\n"
        );
    }
}
