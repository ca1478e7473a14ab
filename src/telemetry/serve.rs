//! The figures of `nn serve`: requests, their bodies and answers, and what was refused.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::text::{Exposition, Histogram, Kind};
use super::{DURATIONS, Figures};
use crate::clock::Clock;

/// The code of a request whose client left before the answer.
const GONE: u16 = 499;

/// The figures of a server so far.
#[derive(Debug)]
pub(crate) struct ServeFigures {
    model: String,
    version: String,
    inner: Mutex<Inner>,
    in_flight: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    samples: AtomicU64,
    turned_away: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    /// By route and code.
    requests: BTreeMap<(String, u16), u64>,
    /// By route.
    durations: BTreeMap<String, Histogram>,
    /// By reason.
    refusals: BTreeMap<&'static str, u64>,
}

/// A request in flight. If it is dropped without an answer, its client has left.
#[derive(Debug)]
pub(crate) struct InFlight {
    figures: Arc<ServeFigures>,
    route: String,
    clock: Clock,
    code: u16,
}

impl ServeFigures {
    /// Of a server of the model of that name and version.
    pub(crate) fn new(model: &str, version: &str) -> Self {
        Self {
            model: model.to_owned(),
            version: version.to_owned(),
            inner: Mutex::default(),
            in_flight: AtomicU64::default(),
            received: AtomicU64::default(),
            sent: AtomicU64::default(),
            samples: AtomicU64::default(),
            turned_away: AtomicU64::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request arrives. Routes must be few: each has figures of its own.
    pub(crate) fn begin(self: &Arc<Self>, route: &str) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight { figures: self.clone(), route: route.to_owned(), clock: Clock::start(), code: GONE }
    }

    /// Bytes of a request's body arrived.
    pub(crate) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Samples were answered.
    pub(crate) fn answered(&self, samples: usize) {
        self.samples.fetch_add(samples as u64, Ordering::Relaxed);
    }

    /// Counts connections that are refused because there are too many.
    pub(crate) fn turned_away(&self) -> &AtomicU64 {
        &self.turned_away
    }
}

impl InFlight {
    /// The answer: its code, the bytes of its body, and why the request was refused, if it was.
    pub(crate) fn answer(mut self, code: u16, bytes: u64, refused: Option<&'static str>) {
        self.code = code;
        self.figures.sent.fetch_add(bytes, Ordering::Relaxed);
        if let Some(reason) = refused {
            *self.figures.lock().refusals.entry(reason).or_default() += 1;
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.figures.in_flight.fetch_sub(1, Ordering::Relaxed);
        let (route, time) = (std::mem::take(&mut self.route), self.clock.now().as_secs_f64());
        let mut inner = self.figures.lock();
        inner.durations.entry(route.clone()).or_default().count(&DURATIONS, time);
        *inner.requests.entry((route, self.code)).or_default() += 1;
    }
}

impl Figures for ServeFigures {
    fn write(&self, text: &mut Exposition) {
        text.family("nn_model_info", Kind::Gauge, "The model: always 1.");
        text.sample("nn_model_info", &[("model", &self.model), ("model_version", &self.version)], 1.0);
        let inner = self.lock();
        text.family(
            "nn_http_requests_total",
            Kind::Counter,
            "Requests by route and code; 499 is a client that left before its answer.",
        );
        for ((route, code), count) in &inner.requests {
            let labels = [("route", &**route), ("code", &*code.to_string())];
            text.sample("nn_http_requests_total", &labels, *count as f64);
        }
        let name = "nn_http_request_duration_seconds";
        text.family(name, Kind::Histogram, "Time from a request's head to the head of its answer.");
        for (route, durations) in &inner.durations {
            text.counts(name, &[("route", route)], &DURATIONS, durations);
        }
        text.family("nn_http_refusals_total", Kind::Counter, "Requests and connections refused, by reason.");
        let turned_away = self.turned_away.load(Ordering::Relaxed);
        for (reason, count) in inner.refusals.iter().chain([(&"connections", &turned_away)]) {
            text.sample("nn_http_refusals_total", &[("reason", reason)], *count as f64);
        }
        drop(inner);
        text.one(
            "nn_http_requests_in_flight",
            Kind::Gauge,
            "Requests that are waiting for their answer.",
            self.in_flight.load(Ordering::Relaxed) as f64,
        );
        for (name, help, value) in [
            ("nn_http_request_bytes_total", "Bytes of the bodies of requests.", &self.received),
            ("nn_http_response_bytes_total", "Bytes of the bodies of answers.", &self.sent),
            ("nn_answered_samples_total", "Samples that were answered.", &self.samples),
        ] {
            text.one(name, Kind::Counter, help, value.load(Ordering::Relaxed) as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::told;

    #[test]
    fn requests_count_once_by_route_and_code() {
        let figures = Arc::new(ServeFigures::new("digits", "abc"));
        let has = |line: &str| {
            let text = told(&*figures);
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        };
        has("nn_http_refusals_total{reason=\"connections\"} 0");
        let (first, second) = (figures.begin("/v2"), figures.begin("/v2"));
        has("nn_http_requests_in_flight 2");
        first.answer(200, 10, None);
        drop(second);
        figures.begin("other").answer(404, 5, Some("not_found"));
        figures.received(3);
        figures.answered(64);
        figures.turned_away().fetch_add(2, Ordering::Relaxed);
        for line in [
            "nn_model_info{model=\"digits\",model_version=\"abc\"} 1",
            "nn_http_requests_in_flight 0",
            "nn_http_requests_total{route=\"/v2\",code=\"200\"} 1",
            "nn_http_requests_total{route=\"/v2\",code=\"499\"} 1",
            "nn_http_requests_total{route=\"other\",code=\"404\"} 1",
            "nn_http_request_duration_seconds_count{route=\"/v2\"} 2",
            "nn_http_refusals_total{reason=\"not_found\"} 1",
            "nn_http_refusals_total{reason=\"connections\"} 2",
            "nn_http_request_bytes_total 3",
            "nn_http_response_bytes_total 15",
            "nn_answered_samples_total 64",
        ] {
            has(line);
        }
    }
}
