//! Numbers for Prometheus. Labels are closed sets: no path, no name, no token.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// What requests are counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    /// Name of the route.
    pub route: &'static str,
    /// The method, `OTHER` where it is not a usual one.
    pub method: &'static str,
    /// The status.
    pub status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: &'static str,
}

/// The numbers of one server.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabel, Histogram>,
    sent: Counter<u64, AtomicU64>,
    /// Requests being served.
    pub in_flight: Gauge,
    /// Open connections.
    pub connections: Gauge,
    /// Requests that panicked.
    pub panics: Counter,
    /// Logins and link passwords that were refused.
    pub refused_logins: Counter,
}

fn seconds() -> Histogram {
    Histogram::new([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0])
}

impl Metrics {
    /// Nothing counted yet.
    pub(super) fn new() -> Metrics {
        let mut registry = Registry::with_prefix("causeway");
        let requests = Family::default();
        let durations = Family::<RouteLabel, Histogram>::new_with_constructor(seconds);
        let sent = Counter::default();
        let (in_flight, connections) = (Gauge::default(), Gauge::default());
        let (panics, refused_logins) = (Counter::default(), Counter::default());
        registry.register("requests", "Answered requests", requests.clone());
        registry.register_with_unit("request_duration", "From the headers to the end of the answer", Unit::Seconds, durations.clone());
        registry.register_with_unit("sent", "Bytes in bodies of answers", Unit::Bytes, sent.clone());
        registry.register("requests_in_flight", "Requests being served", in_flight.clone());
        registry.register("connections", "Open connections", connections.clone());
        registry.register("panics", "Requests that ended in a panic", panics.clone());
        registry.register("refused_logins", "Logins and link passwords that were refused", refused_logins.clone());
        Metrics { registry, requests, durations, sent, in_flight, connections, panics, refused_logins }
    }

    /// Counts an answer.
    pub(super) fn answered(&self, labels: &RequestLabels, duration: Duration, bytes: u64) {
        self.requests.get_or_create(labels).inc();
        self.durations.get_or_create(&RouteLabel { route: labels.route }).observe(duration.as_secs_f64());
        self.sent.inc_by(bytes);
    }

    /// The numbers in the text format of `OpenMetrics`.
    pub(super) fn text(&self) -> String {
        let mut page = String::new();
        // Writing to a String does not fail.
        let _written = text::encode(&mut page, &self.registry);
        page
    }
}

/// A method as a label: a closed set, whatever clients send.
pub(super) fn method_label(method: &http::Method) -> &'static str {
    const METHODS: &[&str] = &[
        "GET",
        "HEAD",
        "OPTIONS",
        "PUT",
        "POST",
        "DELETE",
        "PROPFIND",
        "PROPPATCH",
        "MKCOL",
        "COPY",
        "MOVE",
        "LOCK",
        "UNLOCK",
        "REPORT",
        "SEARCH",
        "PATCH",
    ];
    METHODS.iter().find(|known| **known == method.as_str()).copied().unwrap_or("OTHER")
}

/// A gauge that is one higher while this lives.
#[derive(Debug)]
pub(super) struct Counting(Gauge);

impl Counting {
    /// Counts until dropped.
    pub(super) fn start(gauge: &Gauge) -> Counting {
        gauge.inc();
        Counting(gauge.clone())
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_closed_sets() {
        let metrics = Metrics::new();
        let labels = RequestLabels { route: "home", method: method_label(&http::Method::from_bytes(b"EVIL").unwrap()), status: 207 };
        metrics.answered(&labels, Duration::from_millis(5), 1000);
        let text = metrics.text();
        assert!(text.contains("causeway_requests_total{route=\"home\",method=\"OTHER\",status=\"207\"} 1"), "{text}");
        assert!(text.contains("causeway_sent_bytes_total 1000"), "{text}");
    }
}
