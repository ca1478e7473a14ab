//! From numbers to places on an axis, linear or logarithmic.

use crate::show::ticks;

/// The ratio of the greatest to the least number from which an axis is logarithmic.
const WIDE: f64 = 10.0;

/// An axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    is_log: bool,
}

impl Scale {
    /// The linear axis of some numbers; `None` if none is finite.
    pub(super) fn linear(numbers: impl Iterator<Item = f64>) -> Option<Self> {
        let ends = |(low, high): (f64, f64), x: f64| (low.min(x), high.max(x));
        let numbers = numbers.filter(|x| x.is_finite());
        let (mut low, mut high) = numbers.fold((f64::INFINITY, f64::NEG_INFINITY), ends);
        if low > high {
            return None;
        }
        if low == high {
            let room = if low == 0.0 { 0.5 } else { low.abs() * 0.05 };
            (low, high) = (low - room, high + room);
        }
        Some(Self { low, high, is_log: false })
    }

    /// The axis that suits the spread of some numbers: logarithmic if all are positive and the greatest is ten times the least.
    pub(super) fn suitable(numbers: impl Iterator<Item = f64>) -> Option<Self> {
        let scale = Self::linear(numbers)?;
        Some(Self { is_log: scale.low > 0.0 && scale.high / scale.low >= WIDE, ..scale })
    }

    /// With some room at both ends. What is never negative does not begin below 0.
    pub(super) fn roomy(self) -> Self {
        let Self { low, high, is_log } = self;
        if is_log {
            let room = (high / low).powf(0.04);
            return Self { low: low / room, high: high * room, is_log };
        }
        let room = (high - low) * 0.05;
        let bottom = if low >= 0.0 { (low - room).max(0.0) } else { low - room };
        Self { low: bottom, high: high + room, is_log }
    }

    /// The least number.
    pub(super) fn low(self) -> f64 {
        self.low
    }

    /// The greatest number.
    pub(super) fn high(self) -> f64 {
        self.high
    }

    /// Whether the axis is logarithmic.
    pub(super) fn is_log(self) -> bool {
        self.is_log
    }

    /// The place of a number: 0 for the least, 1 for the greatest.
    pub(super) fn at(self, x: f64) -> f64 {
        if self.is_log {
            (x / self.low).ln() / (self.high / self.low).ln()
        } else {
            (x - self.low) / (self.high - self.low)
        }
    }

    /// Round numbers on the axis, with what is written beside them.
    pub(super) fn ticks(self) -> Vec<(f64, String)> {
        if !self.is_log {
            return ticks(self.low, self.high).into_iter().map(|tick| (tick, written(tick))).collect();
        }
        let decades = (self.high / self.low).log10();
        let times: &[f64] = if decades <= 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let every = (decades / 7.0).ceil().max(1.0) as i32;
        let (from, to) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let powers = (from..=to).filter(|power| power % every == 0);
        let all = powers.flat_map(|power| {
            // From text, so that 0.3 is not 0.30000000000000004.
            times.iter().filter_map(move |times| format!("{times}e{power}").parse::<f64>().ok())
        });
        all.filter(|tick| (self.low..=self.high).contains(tick)).map(|tick| (tick, written(tick))).collect()
    }
}

/// A number beside an axis.
pub(super) fn written(x: f64) -> String {
    if x != 0.0 && !(1e-4..1e6).contains(&x.abs()) { format!("{x:e}") } else { x.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_spreads_are_logarithmic() {
        let scale = Scale::suitable([0.001, f64::NAN, 1.0].into_iter()).unwrap();
        assert!(scale.is_log() && (scale.at(0.1) - 2.0 / 3.0).abs() < 1e-12);
        let names: Vec<String> = scale.ticks().into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1"]);
        let long = Scale::suitable([1e-20, 1.0].into_iter()).unwrap().ticks();
        assert!((5..9).contains(&long.len()) && long.iter().any(|(_, name)| name == "1e-9"), "{long:?}");
        for numbers in [[0.1, 0.5], [-1.0, 100.0], [0.0, 100.0]] {
            assert!(!Scale::suitable(numbers.into_iter()).unwrap().is_log());
        }
    }

    #[test]
    fn constants_have_a_place() {
        for x in [0.0, 3.0, -7.0] {
            let scale = Scale::suitable([x].into_iter()).unwrap();
            assert!((scale.at(x) - 0.5).abs() < 1e-9 && !scale.ticks().is_empty());
        }
        assert_eq!(Scale::linear([f64::NAN, f64::INFINITY].into_iter()), None);
        assert!(Scale::linear([0.0, 10.0].into_iter()).unwrap().roomy().low() == 0.0);
    }
}
