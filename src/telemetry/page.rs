//! The text of the metrics, as Prometheus reads it.
//!
//! `prometheus-client` owns the format (`OpenMetrics` 1.0); this file owns how label values are
//! spread over the numbers of a family.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{self, Registry};

use super::cells::{Distribution, seconds};
use super::families::{Family, Kind, Unit};
use super::metrics::Rows;

/// The content type of a page.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A page of a node with few gossip counters has about this many bytes.
const PAGE_BYTES: usize = 32 << 10;

/// The numbers of one family.
#[derive(Debug)]
pub(super) enum Values {
    /// One for each combination of label values, the last label changing fastest.
    Counts(Vec<u64>),
    /// The same, for histograms.
    Distributions(Vec<Distribution>),
    /// Those that there are, with their label values.
    Rows(Rows),
    /// The same, for histograms.
    TimedRows(Vec<(Vec<String>, Distribution)>),
    /// One that is no whole number; no labels.
    Real(f64),
}

/// The page with these families.
pub(super) fn write(families: Vec<(Family, Values)>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Sheet(families)));
    let mut page = String::with_capacity(PAGE_BYTES);
    encode(&mut page, &registry).expect("a string takes any text");
    page
}

#[derive(Debug)]
struct Sheet(Vec<(Family, Values)>);

impl Collector for Sheet {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(family, values)| write_family(&mut encoder, family, values))
    }
}

fn write_family(
    encoder: &mut DescriptorEncoder<'_>,
    family: &Family,
    values: &Values,
) -> fmt::Result {
    let unit = match family.unit {
        Unit::None => None,
        Unit::Seconds => Some(registry::Unit::Seconds),
        Unit::Bytes => Some(registry::Unit::Bytes),
    };
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram(_) => MetricType::Histogram,
        Kind::Info => MetricType::Info,
    };
    let mut encoder = encoder.encode_descriptor(family.name, family.help, unit.as_ref(), kind)?;
    match values {
        Values::Counts(counts) => {
            for (index, count) in counts.iter().enumerate() {
                let labels = labels(family, index);
                let write = |of: &mut MetricEncoder<'_>| write_value(of, family.kind, count);
                labelled(&mut encoder, &labels, write)?;
            }
        }
        Values::Distributions(distributions) => {
            for (index, distribution) in distributions.iter().enumerate() {
                let labels = labels(family, index);
                let write =
                    |of: &mut MetricEncoder<'_>| write_distribution(of, family.kind, distribution);
                labelled(&mut encoder, &labels, write)?;
            }
        }
        Values::Rows(rows) => {
            for (values, count) in rows {
                let labels = named(family, values);
                if family.kind == Kind::Info {
                    encoder.encode_info(&labels)?;
                    continue;
                }
                write_value(&mut encoder.encode_family(&labels)?, family.kind, count)?;
            }
        }
        Values::TimedRows(rows) => {
            for (values, distribution) in rows {
                let labels = named(family, values);
                let mut of = encoder.encode_family(&labels)?;
                write_distribution(&mut of, family.kind, distribution)?;
            }
        }
        Values::Real(value) => write_value(&mut encoder, family.kind, value)?,
    }
    Ok(())
}

/// The label values that number `index` of a family stands for.
pub(super) fn labels(family: &Family, mut index: usize) -> Vec<(&'static str, &'static str)> {
    let mut labels = Vec::with_capacity(family.labels.len());
    for label in family.labels.iter().rev() {
        labels.push((label.key, label.values[index % label.values.len()]));
        index /= label.values.len();
    }
    labels.reverse();
    labels
}

/// The labels of a family with these values.
pub(super) fn named<'a>(family: &Family, values: &'a [String]) -> Vec<(&'static str, &'a str)> {
    let keys = family.labels.iter().map(|label| label.key);
    keys.zip(values.iter().map(String::as_str)).collect()
}

/// Without labels the braces stay away too.
fn labelled(
    encoder: &mut MetricEncoder<'_>,
    labels: &[(&'static str, &'static str)],
    write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if labels.is_empty() {
        return write(encoder);
    }
    write(&mut encoder.encode_family(&labels)?)
}

fn write_value<V>(encoder: &mut MetricEncoder<'_>, kind: Kind, value: &V) -> fmt::Result
where
    V: EncodeCounterValue + EncodeGaugeValue,
{
    match kind {
        Kind::Counter => encoder.encode_counter::<NoLabelSet, V, f64>(value, None),
        Kind::Gauge => encoder.encode_gauge(value),
        Kind::Histogram(_) | Kind::Info => Err(fmt::Error),
    }
}

fn write_distribution(
    encoder: &mut MetricEncoder<'_>,
    kind: Kind,
    distribution: &Distribution,
) -> fmt::Result {
    let Kind::Histogram(bounds_ns) = kind else { return Err(fmt::Error) };
    let bounds = bounds_ns.iter().map(|ns| seconds(*ns)).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(distribution.cells).collect();
    let (sum, count) = (distribution.sum_seconds(), distribution.count());
    encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}
