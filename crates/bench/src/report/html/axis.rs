//! Maps values to positions on an axis, and places its labels. Pure.

use crate::report::finish::round_step;
use crate::report::terminal::decimals;

/// An axis from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Axis {
    /// A linear scale.
    Linear {
        /// The value at 0.
        low: f64,
        /// The value at 1.
        high: f64,
        /// The distance of two labels.
        step: f64,
    },
    /// A logarithmic scale.
    Log {
        /// The value at 0, above zero.
        low: f64,
        /// The value at 1.
        high: f64,
    },
}

impl Axis {
    /// An axis for these values. It begins at zero unless all values are far from zero, and is logarithmic if the largest is
    /// more than thirty times the smallest, so that one slow value does not press the rest into a line.
    pub(super) fn fitting(values: impl Iterator<Item = f64> + Clone) -> Self {
        let (low, high) = ends(values.clone());
        let positive = ends(values.filter(|value| *value > 0.0)).0;
        if low > 0.0 && high > 30.0 * positive {
            return Self::Log { low: 10_f64.powf(low.log10().floor()).max(low / 2.0), high: high * 1.1 };
        }
        if low < 0.6 * high {
            return Self::from_zero(high);
        }
        let step = round_step(((high - low) / 4.0).max(high / 1000.0).max(0.001));
        let (low, top) = ((low / step).floor() * step, (high / step).ceil() * step);
        Self::Linear { low: low.max(0.0), high: if top > low { top } else { low + step }, step }
    }

    /// An axis from zero to a little more than this, in at most six steps.
    pub(super) fn from_zero(high: f64) -> Self {
        let high = high.max(0.001);
        let step = round_step(high / 5.0);
        Self::Linear { low: 0.0, high: high * 1.02, step }
    }

    /// The position of a value, 0 to 1; values beyond an end are at that end.
    pub(super) fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Linear { low, high, .. } => (value - low) / (high - low),
            Self::Log { low, high } => (value.max(low) / low).ln() / (high / low).ln(),
        };
        place.clamp(0.0, 1.0)
    }

    /// The labelled values, with their labels.
    pub(super) fn labels(self) -> Vec<(f64, String)> {
        match self {
            Self::Linear { low, high, step } => {
                let digits = decimals(step);
                let first = (low / step).ceil() as i64;
                let last = (high / step * (1.0 + 1e-9)).floor() as i64;
                (first..=last).map(|n| n as f64 * step).map(|value| (value, format!("{value:.digits$}"))).collect()
            }
            Self::Log { low, high } => {
                let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
                let factors: &[f64] = if last - first > 3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
                let each =
                    (first..=last).flat_map(|power| factors.iter().map(move |factor| factor * 10_f64.powi(power)));
                let shown = each.filter(|value| (low..=high).contains(value));
                shown.map(|value| (value, format!("{value:.*}", decimals(value)))).collect()
            }
        }
    }
}

fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let ends = values.fold(None, |ends: Option<(f64, f64)>, value| {
        Some(ends.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
    });
    ends.unwrap_or((0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn axes_have_round_labels() {
        let labels = |axis: Axis| axis.labels().into_iter().map(|(_, label)| label).collect::<Vec<_>>();
        assert_eq!(labels(Axis::from_zero(9.7)), ["0", "2", "4", "6", "8"]);
        assert_eq!(
            labels(Axis::fitting([150.1, 150.9].into_iter())),
            ["150.0", "150.2", "150.4", "150.6", "150.8", "151.0"]
        );
        assert_eq!(labels(Axis::fitting([4.0, 400.0].into_iter())), ["2", "5", "10", "20", "50", "100", "200"]);
    }

    proptest! {
        #[test]
        fn every_value_is_on_its_axis_and_there_are_a_few_labels(values in prop::collection::vec(0.0..1e6_f64, 0..50)) {
            let axis = Axis::fitting(values.iter().copied());
            for value in &values {
                let place = axis.place(*value);
                prop_assert!((0.0..=1.0).contains(&place));
                let Axis::Linear { low, high, .. } = axis else { continue };
                prop_assert!((low..=high).contains(value), "{value} in {axis:?}");
            }
            let labels = axis.labels();
            prop_assert!((2..=11).contains(&labels.len()), "{axis:?} {labels:?}");
            prop_assert!(labels.windows(2).all(|pair| pair[0].1 != pair[1].1), "{labels:?}");
        }
    }
}
