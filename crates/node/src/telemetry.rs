//! Logs to standard error, and metrics for whoever scrapes them.
//!
//! Lines of the log are written by a [thread of its own](crate::log).

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::SystemTime;

use hubbub_core::trace::TraceContext;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::util::SubscriberInitExt;

use crate::build_info;
use crate::config::kinds::{LogFilter, OneOf};
use crate::log::{self, Log};
use crate::process::ProcessCost;
use crate::trace;

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For eyes; in colour on a terminal, unless `NO_COLOR` is set.
    Human,
    /// A JSON object a line, for machines.
    Json,
}

impl LogFormat {
    /// The setting's kind.
    pub const KIND: OneOf<Self> = OneOf(&[("human", Self::Human), ("json", Self::Json)]);
}

/// Why telemetry can't start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The process has a log, or a metrics recorder, already.
    #[error("telemetry was started before")]
    Twice,
    /// The buckets are wrong.
    #[error(transparent)]
    Buckets(#[from] BuildError),
}

/// Bounds of the histograms whose names end in `_seconds`: 100 µs to 10 s.
const SECONDS_BUCKETS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Bounds of all other histograms, which count things or bytes: powers of four.
const AMOUNT_BUCKETS: [f64; 11] =
    [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0];

/// Lines of the log that were not written.
const DROPPED: &str = "hubbub_log_lines_dropped_total";

/// Starts logs and metrics of this process.
///
/// # Errors
/// When they were started before.
pub fn start(filter: LogFilter, format: LogFormat) -> Result<(Metrics, Log), TelemetryError> {
    let in_colour =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let log = Log::start(io::stderr());
    tracing_subscriber::registry()
        .with(lines(format, in_colour, log.writer()).with_filter(filter.0))
        .try_init()
        .map_err(|_| TelemetryError::Twice)?;
    Ok((Metrics::start(Some(log.writer()))?, log))
}

fn lines<W>(format: LogFormat, in_colour: bool, to: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    Registry: for<'a> LookupSpan<'a>,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(to).log_internal_errors(false);
    match format {
        LogFormat::Human => layer
            .with_ansi(in_colour)
            .map_event_format(|lines| WithTrace { lines: lines.with_ansi(in_colour), format })
            .boxed(),
        LogFormat::Json => layer
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .map_event_format(|lines| WithTrace { lines, format })
            .boxed(),
    }
}

/// Adds to a line the trace that it is part of, under the names that OpenTelemetry has for them.
struct WithTrace<L> {
    lines: L,
    format: LogFormat,
}

impl<S, N, L> FormatEvent<S, N> for WithTrace<L>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    L: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut to: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(TraceContext { trace, span, .. }) = trace::current() else {
            return self.lines.format_event(context, to, event);
        };
        let mut line = String::new();
        self.lines.format_event(context, Writer::new(&mut line), event)?;
        match (self.format, line.strip_prefix('{')) {
            (LogFormat::Json, Some(fields)) => {
                write!(to, "{{\"trace_id\":\"{trace:032x}\",\"span_id\":\"{span:016x}\",{fields}")
            }
            _ => writeln!(to, "{} trace_id={trace:032x} span_id={span:016x}", line.trim_end()),
        }
    }
}

/// The metrics of this process. Cloning gives another handle to the same ones.
#[derive(Clone)]
pub struct Metrics {
    recorded: PrometheusHandle,
    started: SystemTime,
    log: Option<log::Writer>,
}

impl Metrics {
    fn start(log: Option<log::Writer>) -> Result<Self, TelemetryError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS_BUCKETS)?
            .set_buckets(&AMOUNT_BUCKETS)?
            .build_recorder();
        let recorded = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| TelemetryError::Twice)?;
        metrics::describe_counter!(
            DROPPED,
            "lines of the log that were not written, for where they go stood still"
        );
        Ok(Self { recorded, started: SystemTime::now(), log })
    }

    /// The body of `/metrics`, in Prometheus' text format: what was recorded, what the process costs, which build it is.
    pub fn render(&self) -> String {
        metrics::counter!(DROPPED).absolute(self.log.as_ref().map_or(0, log::Writer::dropped));
        let mut text = self.recorded.render();
        ProcessCost::now().render(self.started, &mut text);
        let (version, commit) = (build_info::VERSION, build_info::COMMIT.unwrap_or_default());
        text.push_str("# HELP hubbub_build_info Which build this is.\n# TYPE hubbub_build_info gauge\n");
        text.push_str(&format!("hubbub_build_info{{version=\"{version}\",commit=\"{commit}\"}} 1\n"));
        text
    }

    /// Folds recorded samples into their buckets, so that histograms nobody scrapes don't grow: call it every 5 seconds or
    /// so, from a tick of your own.
    pub fn run_upkeep(&self) {
        self.recorded.run_upkeep();
    }
}

/// Writes one line about a start that failed, where there may be no log yet.
pub fn complain(program: &str, error: &dyn fmt::Display) {
    // With standard error closed there is nobody to tell; and whoever only stopped reading must not keep the process.
    let log = Log::start(io::stderr());
    _ = writeln!(log.writer(), "{program}: {error}");
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::LevelFilter;

    use super::*;
    use crate::log::tests::Written;

    fn log(format: LogFormat) -> String {
        let written = Written::default();
        let to = written.clone();
        let layer =
            lines(format, false, move || to.clone()).with_filter(LogFilter::level(LevelFilter::INFO).0);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info!(room = "lobby", "room opened");
            tracing::debug!("not for this level");
        });
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_json_line_has_its_fields_on_top() {
        let text = log(LogFormat::Json);
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["message"], &line["room"], &line["level"]),
            (&"room opened".into(), &"lobby".into(), &"INFO".into())
        );
    }

    #[test]
    fn a_human_line_has_no_colour_in_a_file() {
        let text = log(LogFormat::Human);
        assert!(text.contains("room opened") && text.contains("lobby") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_line_of_a_trace_has_its_id() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let within = trace::enter(TraceContext::parse(&format!("00-{trace}-{span}-01")));
        let text = log(LogFormat::Json);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["trace_id"], &line["span_id"], &line["message"]),
            (&trace.into(), &span.into(), &"room opened".into())
        );
        let text = log(LogFormat::Human);
        assert!(text.ends_with(&format!("room=\"lobby\" trace_id={trace} span_id={span}\n")), "{text}");
        drop(within);
        assert!(!log(LogFormat::Human).contains("trace_id"));
    }

    #[test]
    fn metrics_are_rendered_with_the_cost_of_the_process() {
        let metrics = Metrics::start(None).unwrap();
        metrics::counter!("test_frames_total").increment(3);
        metrics::histogram!("test_ack_seconds").record(0.003);
        metrics.run_upkeep();
        let text = metrics.render();
        for line in [
            "test_frames_total 3",
            "test_ack_seconds_bucket{le=\"0.005\"} 1",
            "process_start_time_seconds ",
            "hubbub_build_info{version=",
        ] {
            assert!(text.contains(line), "no {line} in:\n{text}");
        }
        assert!(matches!(Metrics::start(None), Err(TelemetryError::Twice)));
    }
}
