//! The macro that declares metrics. From one declaration come a field of [`Metrics`](super::Metrics), its registration, and the
//! entry of the table that a test compares with `docs/OPERATIONS.md`.

use prometheus::core::Collector;
use prometheus::{
    Counter, Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use super::Dollars;

/// The declaration of one metric.
#[derive(Debug, Clone, Copy)]
pub struct Declaration {
    /// The name, with the unit if there is one.
    pub name: &'static str,
    /// The type: `counter`, `gauge`, `histogram`.
    pub kind: &'static str,
    /// The help text.
    pub help: &'static str,
    /// The names of its labels, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// Upper bounds of a histogram's buckets.
    pub buckets: &'static [f64],
}

impl Declaration {
    fn opts(&self) -> Opts {
        Opts::new(self.name, self.help)
    }

    fn histogram_opts(&self) -> HistogramOpts {
        HistogramOpts::new(self.name, self.help).buckets(self.buckets.to_vec())
    }

    /// Makes the metric and registers it.
    pub(super) fn register<M: Metric>(&self, registry: &Registry) -> Result<M, Error> {
        let metric = M::new(self)?;
        registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

/// The type of a metric's field.
pub(super) trait Metric: Collector + Clone + 'static {
    /// [`Declaration::kind`]
    const KIND: &'static str;

    fn new(declaration: &Declaration) -> Result<Self, Error>;
}

macro_rules! metric {
    ($type:ty, $kind:literal, $declaration:ident => $new:expr) => {
        impl Metric for $type {
            const KIND: &'static str = $kind;

            fn new($declaration: &Declaration) -> Result<Self, Error> {
                $new
            }
        }
    };
}

metric!(Counter, "counter", it => Counter::with_opts(it.opts()));
metric!(IntCounter, "counter", it => IntCounter::with_opts(it.opts()));
metric!(IntCounterVec, "counter", it => IntCounterVec::new(it.opts(), it.labels));
metric!(IntGauge, "gauge", it => IntGauge::with_opts(it.opts()));
metric!(IntGaugeVec, "gauge", it => IntGaugeVec::new(it.opts(), it.labels));
metric!(Histogram, "histogram", it => Histogram::with_opts(it.histogram_opts()));
metric!(HistogramVec, "histogram", it => HistogramVec::new(it.histogram_opts(), it.labels));
metric!(Dollars, "counter", it => Dollars::new(it.name, it.help, it.labels));

/// Declares all metrics, each as `field: Type = "name" {label, …} [BUCKETS], "help";`. Labels and buckets are optional.
macro_rules! metrics {
    (@buckets) => { &[] };
    (@buckets $buckets:ident) => { &$buckets };
    ($($field:ident: $type:ident = $name:literal $({ $($label:ident),+ })? $([$buckets:ident])?, $help:literal;)+) => {
        /// All metrics of the process. They live as long as it does: a reload keeps them.
        pub struct Metrics {
            registry: Registry,
            $(
                #[doc = concat!("`", $name, "`: ", $help, ".", $(" By", $(" `", stringify!($label), "`",)+ ".")?)]
                pub $field: $type,
            )+
        }

        impl Metrics {
            /// Returns all metrics, registered and without values.
            fn declared() -> Result<Self, Error> {
                let registry = Registry::new();
                Ok(Self { $($field: Declaration::$field.register(&registry)?,)+ registry })
            }
        }

        // each has the name of its field
        #[allow(non_upper_case_globals)]
        impl Declaration {
            $(
                const $field: Self = Self {
                    name: $name,
                    kind: <$type as declare::Metric>::KIND,
                    help: $help,
                    labels: &[$($(stringify!($label)),+)?],
                    buckets: metrics!(@buckets $($buckets)?),
                };
            )+
        }

        /// The declaration of each metric.
        pub const DECLARATIONS: &[Declaration] = &[$(Declaration::$field),+];
    };
}

pub(super) use metrics;
